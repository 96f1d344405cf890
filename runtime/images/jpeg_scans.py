"""The scans of a JPEG, counted without decoding: each scan costs a pass over the whole image (a scan bomb)."""

from __future__ import annotations

import re
from typing import BinaryIO

from ..core.errors import ImageError

MAX_SCANS = 100
"""Encoders write about ten, image optimisers a few dozen; libtiff draws the line for JPEGs inside TIFF at 100 too."""
MAX_SCANNED_PIXELS = 3_600_000_000
"""Scans times pixels, twenty scans of the largest image that is read: beyond 36 megapixels it allows fewer scans."""
CHUNK = 1 << 20

_MARKER = re.compile(rb"\xff([\x01-\xcf\xd8-\xfe])")  # not a stuffed zero, a fill byte or a restart marker
_SOS, _ALONE, _EOI = 0xDA, (0x01, 0xD8), 0xD9


def check_scans(file: BinaryIO, pixels: int) -> None:
    """Refuse a JPEG with more scans than any honest encoder writes.

    Args:
        file: a JPEG from its first byte; its position is kept.
        pixels: width times height.

    Raises:
        ImageError: too many scans.
    """
    limit = min(MAX_SCANS, max(MAX_SCANNED_PIXELS // max(pixels, 1), 1))
    position = file.tell()
    try:
        # the marker's two bytes also occur by chance in metadata and behind the image: only many are worth a walk
        if _at_most(file, limit):
            return
        file.seek(0)
        scans = count_scans(file.read(), limit)
    finally:
        file.seek(position)
    if scans > limit:
        raise ImageError(
            f"a JPEG with more than {limit} scans, which would take very long to decode; save it again as a plain JPEG"
        )


def _at_most(file: BinaryIO, limit: int) -> bool:
    """Whether the bytes of the marker occur at most `limit` times."""
    file.seek(0)
    found, last = 0, b""
    while chunk := file.read(CHUNK):
        found += (last + chunk).count(b"\xff\xda")
        if found > limit:
            return False
        last = chunk[-1:]
    return True


def count_scans(data: bytes, limit: int) -> int:
    """Walk the markers of the first image in `data`.

    Args:
        data: a JPEG from its first byte.
        limit: where counting may stop.

    Returns:
        the scans up to the end of the image, at most `limit` + 1.
    """
    position = scans = 0
    while scans <= limit and (found := _MARKER.search(data, position)) is not None:
        marker, position = found[1][0], found.end()
        if marker == _EOI:
            break
        scans += marker == _SOS
        if marker not in _ALONE:
            position += int.from_bytes(data[position : position + 2], "big")
    return scans
