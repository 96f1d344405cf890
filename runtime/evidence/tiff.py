"""Metadata of a TIFF file, which is an EXIF structure itself."""

from __future__ import annotations

from typing import BinaryIO

from .exif import read_exif
from .metadata import MAX_PART, Metadata


def read_tiff(file: BinaryIO, metadata: Metadata) -> None:
    """Read the first directory of `file` into `metadata`, as far as it lies in the first `MAX_PART` bytes."""
    metadata.container, metadata.mime = "TIFF", "image/tiff"
    file.seek(0)
    metadata.exif = file.read(MAX_PART)
    exif = read_exif(metadata.exif)
    metadata.xmp = exif.values.get("xmp", b"")
    if exif.c2pa:
        metadata.c2pa = "TIFF tag 52545"
