"""The format-balanced protocol: images of both classes are cropped, resampled and re-encoded alike.

GenImage's real images are JPEGs of many sizes and its fakes are PNGs of one size, and a detector can learn that
instead of the picture. Here every image becomes a square of one size, encoded once more as JPEG at one quality. The
square is a random crop slightly below the full one, so that every image is resampled and an older 8x8 JPEG grid is
shifted and stretched. Traces of the native resolution and of earlier compression are weakened, but not removed;
`audit --balanced` measures what is left.
"""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
from PIL import Image


@dataclass(frozen=True)
class BalanceConfig:
    """Parameters of the protocol.

    Attributes:
        size: side of the result in pixels.
        quality: JPEG quality of the result.
        crop: range of the side of the random crop, as a share of the short side.
    """

    size: int = 256
    quality: int = 90
    crop: tuple[float, float] = (0.85, 0.95)


BALANCED = BalanceConfig()


def balance_bytes(image: Image.Image, rng: np.random.Generator, config: BalanceConfig = BALANCED) -> bytes:
    """Make the balanced JPEG file (4:2:0, no metadata) of an image.

    Args:
        image: RGB, native size.
        rng: draws the crop.
        config: parameters of the protocol.
    """
    side = rng.uniform(*config.crop) * min(image.size)
    left, top = rng.uniform(0, image.width - side), rng.uniform(0, image.height - side)
    box = (left, top, left + side, top + side)
    square = image.resize((config.size, config.size), Image.Resampling.BICUBIC, box=box)
    buffer = io.BytesIO()
    square.save(buffer, "JPEG", quality=config.quality, subsampling="4:2:0")
    return buffer.getvalue()


def balance(image: Image.Image, rng: np.random.Generator, config: BalanceConfig = BALANCED) -> Image.Image:
    """The decoded result of `balance_bytes`: RGB [size, size]; a transform for the extraction."""
    return Image.open(io.BytesIO(balance_bytes(image, rng, config))).convert("RGB")
