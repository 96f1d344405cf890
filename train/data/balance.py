"""The format-balanced protocol: both classes cut, resampled and re-encoded alike, so that the file gives nothing away.

GenImage's real images are JPEGs of many sizes and its fakes PNGs of one; a detector can learn that instead of the
picture. Here every image, whatever its class, becomes a square of one size that was really resampled (a random crop
just under the full square moves and stretches any old 8x8 grid) and was JPEG-encoded last at one quality. What a
native resolution or an earlier compression leaves in the pixels is weakened, not gone: `audit --balanced` measures it.
"""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
from PIL import Image


@dataclass(frozen=True)
class BalanceConfig:
    """size: side of the result in pixels. quality: of its JPEG. crop: range of the side kept, of the full square."""

    size: int = 256
    quality: int = 90
    crop: tuple[float, float] = (0.85, 0.95)


BALANCED = BalanceConfig()


def balance_bytes(image: Image.Image, rng: np.random.Generator, config: BalanceConfig = BALANCED) -> bytes:
    """RGB image at native size -> the balanced JPEG file, 4:2:0, without metadata; `rng` draws the crop."""
    side = rng.uniform(*config.crop) * min(image.size)
    left, top = rng.uniform(0, image.width - side), rng.uniform(0, image.height - side)
    box = (left, top, left + side, top + side)
    square = image.resize((config.size, config.size), Image.Resampling.BICUBIC, box=box)
    buffer = io.BytesIO()
    square.save(buffer, "JPEG", quality=config.quality, subsampling="4:2:0")
    return buffer.getvalue()


def balance(image: Image.Image, rng: np.random.Generator, config: BalanceConfig = BALANCED) -> Image.Image:
    """As `balance_bytes`, decoded again: RGB [size, size]. One of the extraction's transforms."""
    return Image.open(io.BytesIO(balance_bytes(image, rng, config))).convert("RGB")
