"""The few EXIF fields that evidence needs, from the structure that Pillow reads."""

from __future__ import annotations

from contextlib import suppress

from PIL import Image

IMAGE_FIELDS = {0x010E: "description", 0x010F: "make", 0x0110: "model", 0x0131: "software"}
CAMERA_FIELDS = {0x829A: "exposure", 0x829D: "aperture", 0x8827: "iso", 0x9286: "comment", 0xA434: "lens_model"}
_CAMERA_DIRECTORY = 0x8769
MAX_VALUE = 1 << 18
"""Bytes or characters of one value."""


def read_exif(image: Image.Image) -> dict[str, str]:
    """The fields of EXIF 2.32 that are there, by the names of `IMAGE_FIELDS` and `CAMERA_FIELDS`."""
    values: dict[str, str] = {}
    with suppress(Exception):  # Pillow raises almost anything on damaged structures; what came before stands
        exif = image.getexif()
        camera = exif.get_ifd(_CAMERA_DIRECTORY)
        for directory, names in ((exif, IMAGE_FIELDS), (camera, CAMERA_FIELDS)):
            for tag in names.keys() & directory.keys():
                with suppress(Exception):
                    values[names[tag]] = _text(directory[tag], names[tag] == "comment")
    return values


def _text(value: object, is_comment: bool) -> str:
    if isinstance(value, bytes):
        return (_comment if is_comment else _utf8)(value[:MAX_VALUE])
    # Pillow decodes ASCII fields as Latin-1; most programs write UTF-8
    return _utf8(value[:MAX_VALUE].encode("latin-1", "replace")) if isinstance(value, str) else str(value)[:MAX_VALUE]


def _utf8(raw: bytes) -> str:
    return raw.partition(b"\0")[0].decode("utf-8", "replace").strip()


def _comment(raw: bytes) -> str:
    """UserComment, in the character code that its first eight bytes name."""
    code, body = raw[:8], raw[8:]
    if code == b"UNICODE\0":
        # EXIF leaves the byte order of UNICODE open; writers take either. Latin text tells by its zero bytes.
        big = body[:2] == b"\xfe\xff" or (body[:2] != b"\xff\xfe" and body[::2].count(0) >= body[1::2].count(0))
        return body.decode("utf-16-be" if big else "utf-16-le", "replace").strip("\ufeff\0 ")
    return (body if code in (b"ASCII\0\0\0", bytes(8)) else raw).decode("utf-8", "replace").strip("\0 ")
