"""Augmentations of an image at its native size, before the resize; applied to BOTH classes alike, never to one."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
from PIL import Image

from ...runtime.core.errors import UsageError
from ..data.balance import balance

Transform = Callable[[Image.Image, np.random.Generator], Image.Image]
"""Takes an RGB image and a random generator seeded by the file's content; returns an RGB image."""

JPEG_QUALITY = (30, 100)
SCALE = (0.5, 1.5)
FILTERS = (Image.Resampling.BILINEAR, Image.Resampling.BICUBIC, Image.Resampling.LANCZOS)


def reencode(image: Image.Image, quality: int) -> Image.Image:
    """Encode as JPEG in memory at `quality` and decode again."""
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return Image.open(buffer).convert("RGB")


def unchanged(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Return the image as it is: `augment: none`, as in the paper."""
    return image


def robust(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """`augment: robust`: rescale by a random factor with a random filter, then JPEG at a quality of 30 to 100."""
    factor = rng.uniform(*SCALE)
    method = FILTERS[rng.integers(len(FILTERS))]
    size = (max(1, round(image.width * factor)), max(1, round(image.height * factor)))
    return reencode(image.resize(size, method), int(rng.integers(JPEG_QUALITY[0], JPEG_QUALITY[1] + 1)))


TRANSFORMS: dict[str, Transform] = {"none": unchanged, "robust": robust, "balanced": balance}


def check_augment(name: str) -> None:
    """Raise UsageError for an augmentation that nobody knows; the message lists those that exist."""
    if name not in TRANSFORMS:
        raise UsageError(f"unknown augmentation {name!r}; there are: {', '.join(TRANSFORMS)}")
