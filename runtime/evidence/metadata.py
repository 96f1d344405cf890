"""Raw metadata of an image file, found without decoding pixels and within fixed limits."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import BinaryIO

MAX_SEGMENTS = 20_000
"""Chunks, segments or boxes looked at in one file; a 100-megapixel PNG has about 10,000."""
MAX_PART = 1 << 20
"""Bytes read of one part (EXIF, XMP, a text, decompressed or not)."""
MAX_TOTAL = 4 << 20
"""Bytes read and decompressed of one file."""
MAX_TEXTS = 64
"""Texts kept of one file."""


@dataclass
class Metadata:
    """Raw metadata of one file.

    Attributes:
        container: "JPEG", "PNG", "WebP", "TIFF", "HEIF"; "" for any other.
        mime: media type.
        exif: a TIFF structure; empty where there is none.
        xmp: an XMP packet, UTF-8; empty where there is none.
        texts: (place, keyword, text) of PNG text chunks and JPEG comments.
        c2pa: the place of a C2PA manifest; "" where there is none.
        luminance: luminance quantisation of a JPEG, 64 values row by row; empty for other files.
        budget: bytes that may still be read.
    """

    container: str = ""
    mime: str = ""
    exif: bytes = b""
    xmp: bytes = b""
    texts: list[tuple[str, str, str]] = field(default_factory=list)
    c2pa: str = ""
    luminance: list[int] = field(default_factory=list)
    budget: int = MAX_TOTAL

    def take(self, length: int) -> int:
        """How many of `length` bytes may be read; they are taken off the budget."""
        allowed = max(0, min(length, MAX_PART, self.budget))
        self.budget -= allowed
        return allowed

    def add_text(self, place: str, keyword: str, text: str) -> None:
        """Keep one text, up to `MAX_TEXTS`."""
        if len(self.texts) < MAX_TEXTS:
            self.texts.append((place, keyword, text))


def read_exactly(file: BinaryIO, count: int) -> bytes:
    """Read `count` bytes.

    Raises:
        EOFError: the file ends before.
    """
    data = file.read(count)
    if len(data) < count:
        raise EOFError
    return data
