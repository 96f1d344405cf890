"""What is wrong with a file's structure, found without a decoder: JPEGs of too many scans (each costs a pass over the
image) or without an end mark, PNGs with wrong checksums beside their pixels."""

from __future__ import annotations

import hashlib
import io
import os
import re
import zlib
from collections.abc import Callable
from typing import BinaryIO, Literal, TypeAlias

from PIL import Image

from ..core.errors import ImageError

Flaw: TypeAlias = Literal["end", "checksum"]
"""What is wrong with a file whose pixels are whole; the code of the record's reason."""

PNG = b"\x89PNG\r\n\x1a\n"
MAX_CHUNKS, MAX_CHUNK_BYTES = 10_000, 16 << 20
"""Chunks of a PNG that are looked at, and the size up to which their checksum is computed."""
_PROGRESSIVE = re.compile(rb"\xff\xc2\0[\x0b\x11\x14]")
MAX_SCANS = 100
"""Encoders write about ten, image optimisers a few dozen; libtiff draws the line for JPEGs inside TIFF at 100 too."""
MAX_SCANNED_PIXELS = 3_600_000_000
"""Scans times pixels, twenty scans of the largest image that is read: beyond 36 megapixels it allows fewer scans."""
CHUNK = 1 << 20

_MARKER = re.compile(rb"\xff([\x01-\xcf\xd8-\xfe])")  # not a stuffed zero, a fill byte or a restart marker
_SOS, _ALONE, _EOI = 0xDA, (0x01, 0xD8), 0xD9
_SOF = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_RESTART = re.compile(rb"\xff([\xd0-\xd7])")
_FILLS = tuple(
    bytes(byte ^ inverted for byte in hashlib.sha512(seed).digest()).replace(b"\xff", b"\xff\0")
    for seed in (b"", b"\0") for inverted in (0, 255)
)
"""Made-up data behind a JPEG: two streams, and the same with every bit inverted."""


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


def has_all_scans(data: bytes) -> bool:
    """Whether no further scan can follow: the lowest bit of every coefficient is in a scan (T.81, B.2.3 and G.1.1.1).

    Args:
        data: a JPEG from its first byte.
    """
    missing: set[tuple[int, int]] | None = None
    position = 0
    while (found := _MARKER.search(data, position)) is not None and found[1][0] != _EOI:
        marker, position = found[1][0], found.end()
        if marker in _ALONE:
            continue
        end = position + int.from_bytes(data[position : position + 2], "big")
        segment, position = data[position + 2 : end], end
        if marker in _SOF:
            missing = {(component, at) for component in segment[6::3] for at in range(64)}
        elif marker == _SOS and missing is not None and len(segment) > 3 and segment[-1] & 15 == 0:
            missing -= {(component, at) for component in segment[1:-3:2] for at in range(segment[-3], segment[-2] + 1)}
    return missing == set()


def completed_jpeg(file: BinaryIO, load: Callable[[BinaryIO], Image.Image]) -> Image.Image | None:
    """The picture of a JPEG that ends without its end mark; None where a part of the picture is missing, too.

    The file is decoded with different continuations. A picture that is there as a whole depends on none, and a
    part that is missing is made up from them: as entropy-coded data or, behind each of the restart markers, as the
    next interval.

    Args:
        file: the JPEG, seekable.
        load: opens and decodes one.
    """
    file.seek(0)
    data = file.read().rstrip(b"\xff")  # half an end mark
    if data.endswith(b"\0\0\0") and _PROGRESSIVE.search(data):
        # a file system's, which would complete the last scan; the data of other JPEGs may end with zeros
        data = data.rstrip(b"\0")
        data += b"\0" if data.endswith(b"\xff") else b""
    if not has_all_scans(data):
        return None
    restarts = _RESTART.findall(data, data.rindex(b"\xff\xda"))
    following = restarts[-1][0] + 1 if restarts else 0  # any other than the expected one would drop an interval
    picture: Image.Image | None = None
    for fill in _FILLS:
        intervals = b"".join(b"\xff" + bytes((0xD0 + (following + i) % 8,)) + fill for i in range(8))
        again = load(io.BytesIO(data + fill + intervals + b"\xff\xd9"))
        if picture is not None and picture.tobytes() != again.tobytes():
            return None
        picture = again
    return picture


def without_bad_chunks(file: BinaryIO) -> BinaryIO | None:
    """A PNG without its ancillary chunks of a wrong checksum, as libpng leaves them out; None where there are none.

    Frames of an animation (`fdAT`) stay: their checksum is looked at when they are decoded.

    Args:
        file: any file, seekable; its position is at its start afterwards.
    """
    bad: list[tuple[int, int]] = []
    at = len(PNG) if file.read(len(PNG)) == PNG else -1
    for _ in range(MAX_CHUNKS if at > 0 else 0):
        head = file.read(8)
        length, kind = int.from_bytes(head[:4], "big"), head[4:]
        if len(head) < 8 or kind == b"IEND":
            break
        if kind[0] & 32 and kind != b"fdAT" and length <= MAX_CHUNK_BYTES:
            content, stated = file.read(length), file.read(4)
            if len(stated) == 4 and zlib.crc32(kind + content) != int.from_bytes(stated, "big"):
                bad.append((at, at + length + 12))
        else:
            file.seek(length + 4, os.SEEK_CUR)
        at += length + 12
    file.seek(0)
    if not bad:
        return None
    parts, start = [], 0
    for first, behind in bad:
        parts.append(file.read(first - start))
        file.seek(behind)
        start = behind
    whole = io.BytesIO(b"".join((*parts, file.read())))
    file.seek(0)
    return whole
