"""Metadata of a PNG file: its text, EXIF and C2PA chunks."""

from __future__ import annotations

import os
import zlib
from typing import BinaryIO

from .metadata import MAX_PART, MAX_SEGMENTS, Metadata, read_exactly

XMP_KEYWORD = "XML:com.adobe.xmp"
_WANTED = (b"tEXt", b"zTXt", b"iTXt", b"eXIf")


def read_png(file: BinaryIO, metadata: Metadata) -> None:
    """Read the chunks from the start of `file` into `metadata`; a chunk beyond `MAX_PART` is read up to that.

    Raises:
        EOFError: the file ends within a chunk; what came before is kept.
    """
    metadata.container, metadata.mime = "PNG", "image/png"
    file.seek(8)
    for _ in range(MAX_SEGMENTS):
        head = read_exactly(file, 8)
        length, name = int.from_bytes(head[:4], "big"), head[4:]
        if name == b"IEND":
            return
        taken = metadata.take(length) if name in _WANTED else 0
        if taken:
            _chunk(name, read_exactly(file, taken), metadata)
        elif name == b"caBX":
            metadata.c2pa = "PNG caBX"
        file.seek(length - taken + 4, os.SEEK_CUR)


def _chunk(name: bytes, data: bytes, metadata: Metadata) -> None:
    if name == b"eXIf":
        metadata.exif = metadata.exif or data
        return
    keyword_bytes, _, body = data.partition(b"\0")
    keyword, encoding = keyword_bytes[:79].decode("latin-1"), "latin-1"
    if name == b"zTXt":
        body = inflate(body[1:], metadata)
    elif name == b"iTXt":
        compressed, encoding = body[:1] == b"\1", "utf-8"
        body = body[2:].partition(b"\0")[2].partition(b"\0")[2]
        body = inflate(body, metadata) if compressed else body
        if keyword == XMP_KEYWORD:
            metadata.xmp = metadata.xmp or body
            return
    metadata.add_text("PNG text", keyword, body.decode(encoding, "replace"))


def inflate(data: bytes, metadata: Metadata) -> bytes:
    """Decompress as much as the budget allows; empty for damaged data."""
    limit = min(MAX_PART, metadata.budget)
    try:
        # zlib takes a limit of 0 for none
        inflated = zlib.decompressobj().decompress(data, limit) if limit > 0 else b""
    except zlib.error:
        return b""
    metadata.take(len(inflated))
    return inflated
