"""The EXIF fields that evidence needs, from the structure that Pillow reads."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

from PIL import Image

FIELDS = {
    0x010E: "ImageDescription", 0x010F: "Make", 0x0110: "Model", 0x0131: "Software", 0x013B: "Artist",
    0x8298: "Copyright", 0x000B: "ProcessingSoftware", 0x829A: "ExposureTime", 0x829D: "FNumber", 0x8827: "ISO",
    0x9003: "DateTimeOriginal", 0x9286: "UserComment", 0x9C9B: "XPTitle", 0x9C9C: "XPComment", 0x9C9D: "XPAuthor",
    0x9C9E: "XPKeywords", 0x9C9F: "XPSubject", 0xA434: "LensModel", 0xA436: "ImageTitle", 0xA437: "Photographer",
    0xA438: "ImageEditor", 0xA43A: "RAWDevelopingSoftware", 0xA43B: "ImageEditingSoftware",
    0xA43C: "MetadataEditingSoftware",
}
"""Tags of Exif 3.0, and of Microsoft's extension (0x9C9B to 0x9C9F), in either directory: writers misplace them."""
_CAMERA_DIRECTORY, _POSITION_DIRECTORY = 0x8769, 0x8825
MAX_VALUE = 1 << 18
"""Bytes or characters of one value."""


def read_exif(exif: Image.Exif) -> Iterator[tuple[str, str]]:
    """Yield (name, text) of the `FIELDS` that are there, and of "GPS"; damaged ones are left out.

    The text of GPS is latitude and longitude in degrees, as "48.85823, -2.29450"; "" where they are incomplete.
    """
    directories: list[Mapping[int, object]] = []
    with suppress(Exception):  # Pillow raises almost anything on damaged structures; what came before stands
        directories.append(exif)
        directories.append(exif.get_ifd(_CAMERA_DIRECTORY))
    for directory in directories:
        for tag in FIELDS.keys() & directory.keys():
            with suppress(Exception):
                if text := _text(directory[tag], tag):
                    yield FIELDS[tag], text
    with suppress(Exception):
        if position := exif.get_ifd(_POSITION_DIRECTORY):
            yield "GPS", _degrees(position)


def _degrees(position: Mapping[int, Any]) -> str:
    """Latitude and longitude from the tags 1 to 4: reference, and degrees, minutes and seconds, twice."""
    with suppress(Exception):
        parts = [sum(float(part) / 60**i for i, part in enumerate(position[tag])) for tag in (2, 4)]
        signs = [-1 if str(position[tag]).upper().startswith(("S", "W")) else 1 for tag in (1, 3)]
        return ", ".join(f"{sign * part:.5f}" for sign, part in zip(signs, parts, strict=True))
    return ""


def _text(value: object, tag: int) -> str:
    if isinstance(value, tuple) and all(isinstance(item, int) and 0 <= item < 256 for item in value):
        value = bytes(value)
    if isinstance(value, bytes):
        value = value[:MAX_VALUE]
        if 0x9C9B <= tag <= 0x9C9F:
            return value.decode("utf-16-le", "replace").strip("\0 ")
        return user_comment(value) if FIELDS[tag] == "UserComment" else _utf8(value)
    # Pillow decodes ASCII fields as Latin-1; most programs write UTF-8
    return _utf8(value[:MAX_VALUE].encode("latin-1", "replace")) if isinstance(value, str) else str(value)[:MAX_VALUE]


def _utf8(raw: bytes) -> str:
    return raw.partition(b"\0")[0].decode("utf-8", "replace").strip()


def user_comment(raw: bytes) -> str:
    """UserComment, in the character code that its first eight bytes name (Exif 3.0, 4.6.5); UTF-8 without one."""
    code, body = raw[:8].upper().rstrip(b"\0 "), raw[8:]
    if code == b"UNICODE":
        text = _unicode(body)
    elif code == b"JIS":
        text = body.decode("iso2022_jp", "replace")
    else:
        text = (body if code in (b"ASCII", b"") else raw).decode("utf-8", "replace")
    return text.strip("\ufeff\0 ")


def _unicode(body: bytes) -> str:
    """Text under the UNICODE mark: UTF-16 in either order up to Exif 2.32, UTF-8 since Exif 3.0, unmarked."""
    if body[:2] in (b"\xfe\xff", b"\xff\xfe"):
        return body.decode("utf-16", "replace")
    if b"\0" not in body.rstrip(b"\0"):
        with suppress(UnicodeDecodeError):
            return body.rstrip(b"\0").decode("utf-8")
    # Latin text tells the order by its zero bytes, other text by the control characters of the wrong order
    zeros = [body[start::2].count(0) for start in (0, 1)]
    order = "utf-16-be" if zeros[0] > zeros[1] or (zeros[0] == zeros[1] and _is_big_endian(body)) else "utf-16-le"
    return body.decode(order, "replace")


def _is_big_endian(body: bytes) -> bool:
    """Whether the odd bytes vary more: the even ones then hold the block of the script."""
    return len(set(body[1::2])) >= len(set(body[::2]))
