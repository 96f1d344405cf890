"""The few EXIF fields that evidence needs, read within fixed limits from a TIFF structure."""

from __future__ import annotations

import struct
from dataclasses import dataclass

MAX_ENTRIES = 512
"""Fields looked at in one directory."""
MAX_VALUE = 1 << 18
"""Bytes of one value."""
_TYPE_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8}

IMAGE_FIELDS = {0x010E: "description", 0x010F: "make", 0x0110: "model", 0x0131: "software", 0x02BC: "xmp"}
CAMERA_FIELDS = {
    0x829A: "exposure", 0x829D: "aperture", 0x8827: "iso", 0x9286: "comment", 0x920A: "focal_length",
    0xA433: "lens_make", 0xA434: "lens_model",
}
_CAMERA_DIRECTORY, _C2PA = 0x8769, 0xCD41


@dataclass(frozen=True)
class Exif:
    """Fields of EXIF 2.32 by short names.

    Attributes:
        values: raw bytes of each field that is there, by the names of `IMAGE_FIELDS` and `CAMERA_FIELDS`.
        big_endian: byte order of the structure.
        c2pa: whether the TIFF tag of a C2PA manifest is there.
    """

    values: dict[str, bytes]
    big_endian: bool
    c2pa: bool

    def text(self, name: str) -> str:
        """An ASCII field without padding; "" where it is absent."""
        return self.values.get(name, b"").partition(b"\0")[0].decode("utf-8", "replace").strip()

    def comment(self) -> str:
        """UserComment, in the character code that its first eight bytes name."""
        raw = self.values.get("comment", b"")
        code, body = raw[:8], raw[8:]
        if code == b"UNICODE\0":
            # EXIF leaves the byte order of UNICODE open; writers take either. Latin text tells by its zero bytes.
            big = body[:2] == b"\xfe\xff" or (body[:2] != b"\xff\xfe" and body[::2].count(0) >= body[1::2].count(0))
            return body.decode("utf-16-be" if big else "utf-16-le", "replace").strip("\ufeff\0 ")
        return (body if code in (b"ASCII\0\0\0", bytes(8)) else raw).decode("utf-8", "replace").strip("\0 ")


def read_exif(data: bytes) -> Exif:
    """Read `data`, a TIFF structure; damaged directories give no fields."""
    big_endian = data[:2] == b"MM"
    values: dict[str, bytes] = {}
    if data[:2] not in (b"II", b"MM") or len(data) < 8:
        return Exif(values, big_endian, False)
    order = ">" if big_endian else "<"
    offsets = _directory(data, struct.unpack_from(order + "I", data, 4)[0], order, IMAGE_FIELDS, values)
    if _CAMERA_DIRECTORY in offsets:
        _directory(data, offsets[_CAMERA_DIRECTORY], order, CAMERA_FIELDS, values)
    return Exif(values, big_endian, _C2PA in offsets)


def _directory(data: bytes, start: int, order: str, names: dict[int, str], values: dict[str, bytes]) -> dict[int, int]:
    """Add the named fields of one directory to `values`; return each tag's four value bytes as a number."""
    offsets: dict[int, int] = {}
    if start + 2 > len(data):
        return offsets
    count = min(struct.unpack_from(order + "H", data, start)[0], MAX_ENTRIES, (len(data) - start - 2) // 12)
    for position in range(start + 2, start + 2 + 12 * count, 12):
        tag, kind, length, offset = struct.unpack_from(order + "HHII", data, position)
        offsets[tag] = offset
        size = _TYPE_SIZES.get(kind, 0) * length
        if tag in names and 0 < size <= MAX_VALUE:
            where = position + 8 if size <= 4 else offset
            values.setdefault(names[tag], data[where : where + size])
    return offsets
