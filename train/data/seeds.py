"""One seed an image, from its pixels: the same picture is treated the same wherever it lies and in whatever order."""

from __future__ import annotations

import zlib

from PIL import Image


def image_seed(image: Image.Image, seed: int = 0) -> int:
    """Seed in [0, 2**32) of an image under a study's own `seed`."""
    return zlib.crc32(image.tobytes(), zlib.crc32(f"{seed}/{image.size}".encode()))
