"""JPEG XL, whose plugin decodes a picture as soon as it opens one: the size is read before, from the codestream."""

from __future__ import annotations

import struct
from typing import BinaryIO

from ..core.errors import ImageError

BARE, CONTAINER = b"\xff\x0a", b"\0\0\0\x0cJXL \r\n\x87\n"
"""First bytes of JPEG XL (ISO/IEC 18181-2)."""
NOT_READ = "a JPEG XL image; reading it needs pip install pillow-jxl-plugin; or convert it first: djxl IN.jxl OUT.png"
_RATIOS = ((1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))


def jpeg_xl_size(file: BinaryIO) -> tuple[int, int] | None:
    """Width and height that a file at its start states (SizeHeader of ISO/IEC 18181-1); None for other formats.

    Raises:
        ImageError: it ends before its size.
    """
    head = file.read(12)
    file.seek(0)
    if not head.startswith((BARE, CONTAINER)):
        return None
    try:
        at = 0 if head.startswith(BARE) else _codestream(file)
        file.seek(at + len(BARE))
        return _size(int.from_bytes(struct.unpack("10s", file.read(10))[0], "little"))
    except struct.error:
        raise ImageError("a JPEG XL image that ends before its size") from None
    finally:
        file.seek(0)


def _codestream(file: BinaryIO) -> int:
    """Where the codestream, or its first part, begins in a container of boxes."""
    at = len(CONTAINER)
    while True:
        file.seek(at)
        length, kind = struct.unpack(">I4s", file.read(8))
        begin = at + 8
        if length == 1:
            length, begin = struct.unpack(">Q", file.read(8))[0], at + 16
        if kind in (b"jxlc", b"jxlp"):
            return begin + 4 * (kind == b"jxlp")
        if length < 8:  # 0: it reaches to the end
            raise struct.error
        at += length


def _size(bits: int) -> tuple[int, int]:
    """The first bits of a codestream are the lowest."""

    def take(count: int) -> int:
        nonlocal bits
        bits, taken = bits >> count, bits & (1 << count) - 1
        return taken

    def side() -> int:
        return 8 * (take(5) + 1) if small else take((9, 13, 18, 30)[take(2)]) + 1

    small = take(1)
    height = side()
    ratio = take(3)
    if not ratio:
        return side(), height
    across, down = _RATIOS[ratio - 1]
    return height * across // down, height
