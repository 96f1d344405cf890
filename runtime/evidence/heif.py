"""Metadata of HEIC and AVIF files: EXIF and XMP items of ISO/IEC 23008-12, and the box of a C2PA manifest."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from typing import BinaryIO

from .metadata import MAX_PART, MAX_SEGMENTS, Metadata, read_exactly

C2PA_UUID = bytes.fromhex("d8fec3d61b0e483c92975828877ec481")
MAX_ITEMS = 4096


def read_heif(file: BinaryIO, metadata: Metadata) -> None:
    """Read the boxes of `file` into `metadata`.

    Raises:
        EOFError, struct.error: the file ends or a box is damaged; what came before is kept.
    """
    file.seek(8)
    metadata.container, metadata.mime = "HEIF", "image/avif" if read_exactly(file, 4)[:3] == b"avi" else "image/heic"
    size, position = file.seek(0, os.SEEK_END), 0
    meta = b""
    for _ in range(MAX_SEGMENTS):
        if position + 8 > size:
            break
        file.seek(position)
        length, name, header = _box_head(read_exactly(file, min(16, size - position)))
        length = length or size - position
        if name == b"meta" and not meta:
            meta = _body(file, position + header, length - header)
        elif name == b"uuid" and _body(file, position + header, 16) == C2PA_UUID:
            metadata.c2pa = "HEIF uuid box"
        position += max(length, 8)
    _items(file, meta, metadata)


def _box_head(data: bytes) -> tuple[int, bytes, int]:
    """Length (0: to the end), name and header size of a box."""
    length, name = struct.unpack_from(">I4s", data)
    if length == 1:
        return struct.unpack_from(">Q", data, 8)[0], name, 16
    return length, name, 8


def _body(file: BinaryIO, start: int, length: int) -> bytes:
    file.seek(start)
    return file.read(max(0, min(length, MAX_PART)))


def _boxes(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Name and body of each box in `data`."""
    position = 0
    while position + 8 <= len(data):
        length, name, header = _box_head(data[position : position + 16].ljust(16, b"\0"))
        length = length or len(data) - position
        yield name, data[position + header : position + length]
        position += max(length, 8)


def _items(file: BinaryIO, meta: bytes, metadata: Metadata) -> None:
    """Read the EXIF and XMP items that the meta box (with its four version bytes) names."""
    boxes = dict(_boxes(meta[4:]))
    wanted = _wanted_items(boxes.get(b"iinf", b""))
    for identity, start, length in _locations(boxes.get(b"iloc", b"")):
        name = wanted.get(identity)
        if name == b"Exif" and not metadata.exif:
            data = _body(file, start, metadata.take(length))
            metadata.exif = data[4 + int.from_bytes(data[:4], "big") :]
        elif name == b"mime" and not metadata.xmp:
            metadata.xmp = _body(file, start, metadata.take(length))


def _wanted_items(iinf: bytes) -> dict[int, bytes]:
    """Item id -> "Exif" or "mime" (XMP) of an item information box."""
    wanted: dict[int, bytes] = {}
    for index, (name, body) in enumerate(_boxes(iinf[6 if iinf[:1] == b"\0" else 8 :])):
        if index >= MAX_ITEMS:
            break
        wide = body[:1] == b"\3"
        kind = body[10:14] if wide else body[8:12]
        if name == b"infe" and (kind == b"Exif" or (kind == b"mime" and b"application/rdf+xml" in body)):
            wanted[int.from_bytes(body[4:8] if wide else body[4:6], "big")] = kind
    return wanted


def _locations(iloc: bytes) -> Iterator[tuple[int, int, int]]:
    """(item id, start in the file, length) of items that lie in the file in one piece."""
    if len(iloc) < 8:
        return
    version, sizes = iloc[0], [nibble for byte in iloc[4:6] for nibble in (byte >> 4, byte & 15)]
    identity_size = 2 if version < 2 else 4
    position = 6

    def number(size: int) -> int:
        nonlocal position
        position += size
        if position > len(iloc):
            raise EOFError
        return int.from_bytes(iloc[position - size : position], "big")

    for _ in range(min(number(identity_size), MAX_ITEMS)):
        identity = number(identity_size)
        method = number(2) & 15 if version else 0
        number(2)  # data reference
        base = number(sizes[2])
        extents = number(2)
        index_size = sizes[3] if version else 0
        if extents != 1:
            number(extents * (index_size + sizes[0] + sizes[1]))
            continue
        number(index_size)
        start, length = number(sizes[0]), number(sizes[1])
        if method == 0:
            yield identity, base + start, length
