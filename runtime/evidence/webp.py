"""Metadata of a WebP file: its RIFF chunks."""

from __future__ import annotations

import os
from typing import BinaryIO

from .jpeg import EXIF_HEADER
from .metadata import MAX_SEGMENTS, Metadata, read_exactly


def read_webp(file: BinaryIO, metadata: Metadata) -> None:
    """Read the chunks from the start of `file` into `metadata`.

    Raises:
        EOFError: the file ends; what came before is kept.
    """
    metadata.container, metadata.mime = "WebP", "image/webp"
    file.seek(12)
    for _ in range(MAX_SEGMENTS):
        head = read_exactly(file, 8)
        length, name = int.from_bytes(head[4:], "little"), head[:4]
        taken = metadata.take(length) if name in (b"EXIF", b"XMP ") else 0
        if name == b"EXIF":
            metadata.exif = read_exactly(file, taken).removeprefix(EXIF_HEADER)
        elif name == b"XMP ":
            metadata.xmp = read_exactly(file, taken)
        elif name == b"C2PA":
            metadata.c2pa = "WebP C2PA"
        file.seek(length - taken + length % 2, os.SEEK_CUR)
