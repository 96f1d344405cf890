"""An image file -> its raw metadata: the reader that the first bytes choose."""

from __future__ import annotations

import struct
from contextlib import suppress
from typing import BinaryIO

from .heif import read_heif
from .jpeg import read_jpeg
from .metadata import Metadata
from .png import read_png
from .tiff import read_tiff
from .webp import read_webp


def read_metadata(file: BinaryIO) -> Metadata:
    """Read a seekable file from its start; a damaged or unknown file gives what could be read of it."""
    metadata = Metadata()
    file.seek(0)
    head = file.read(16)
    reader = None
    if head.startswith(b"\xff\xd8"):
        reader = read_jpeg
    elif head.startswith(b"\x89PNG\r\n\x1a\n"):
        reader = read_png
    elif head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        reader = read_webp
    elif head[4:8] == b"ftyp":
        reader = read_heif
    elif head[:4] in (b"II*\0", b"MM\0*"):
        reader = read_tiff
    if reader is not None:
        with suppress(EOFError, struct.error, OSError, ValueError, OverflowError):
            reader(file, metadata)
    return metadata
