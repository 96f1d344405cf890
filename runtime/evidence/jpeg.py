"""Metadata of a JPEG file: its segments before the first scan."""

from __future__ import annotations

import os
import struct
from typing import BinaryIO

from .metadata import MAX_SEGMENTS, Metadata, read_exactly

EXIF_HEADER = b"Exif\0\0"
XMP_HEADER = b"http://ns.adobe.com/xap/1.0/\0"
ZIGZAG = sorted(range(64), key=lambda i: (i // 8 + i % 8, i // 8 if (i // 8 + i % 8) % 2 else i % 8))
"""Row-by-row index of each entry of a table in a file (ITU-T T.81, Figure A.6)."""
_FROM_ZIGZAG = sorted(range(64), key=ZIGZAG.__getitem__)
"""Index in a file of each entry of a table, row by row."""
_DQT, _SOS, _EOI, _APP1, _APP11, _COM = 0xDB, 0xDA, 0xD9, 0xE1, 0xEB, 0xFE


def read_jpeg(file: BinaryIO, metadata: Metadata) -> None:
    """Read the segments from the start of `file` into `metadata`.

    Raises:
        EOFError: the file ends within a segment; what came before is kept.
    """
    metadata.container, metadata.mime = "JPEG", "image/jpeg"
    file.seek(2)
    for _ in range(MAX_SEGMENTS):
        if read_exactly(file, 1) != b"\xff":
            continue
        marker = read_exactly(file, 1)[0]
        if marker == 0xFF:  # a fill byte
            file.seek(-1, os.SEEK_CUR)
            continue
        if marker in (_SOS, _EOI):
            return
        if marker == 0 or 0xD0 <= marker <= 0xD8:
            continue
        length = int.from_bytes(read_exactly(file, 2), "big") - 2
        if length < 0:
            return
        end = file.tell() + length
        if marker in (_DQT, _APP1, _APP11, _COM):
            head = read_exactly(file, min(length, 64))
            whole = marker in (_DQT, _COM) or head.startswith((EXIF_HEADER, XMP_HEADER))
            rest = read_exactly(file, metadata.take(length - len(head))) if whole else b""
            _segment(marker, head + rest, metadata)
        file.seek(end)


def _segment(marker: int, data: bytes, metadata: Metadata) -> None:
    if marker == _APP1 and data.startswith(EXIF_HEADER):
        metadata.exif = metadata.exif or data[len(EXIF_HEADER) :]
    elif marker == _APP1 and data.startswith(XMP_HEADER):
        metadata.xmp = metadata.xmp or data[len(XMP_HEADER) :]
    elif marker == _APP11 and data.startswith(b"JP") and data[12:16] == b"jumb" and b"c2pa" in data[16:64]:
        metadata.c2pa = "JPEG APP11"
    elif marker == _COM:
        metadata.add_text("JPEG comment", "", data.decode("utf-8", "replace"))
    elif marker == _DQT and not metadata.luminance:
        metadata.luminance = _luminance(data)


def _luminance(data: bytes) -> list[int]:
    """Table 0 of a DQT segment, row by row; empty where the segment has none."""
    position = 0
    while position < len(data):
        wide, number = data[position] >> 4, data[position] & 15
        size = 2 if wide else 1
        values = data[position + 1 : position + 1 + 64 * size]
        position += 1 + 64 * size
        if number == 0 and len(values) == 64 * size:
            found = struct.unpack(">64H" if wide else ">64B", values)
            return [found[place] for place in _FROM_ZIGZAG]
    return []
