"""Corruptions of the robustness study [Table 3, Fig. 6], seeded, at native size, before the network's resize."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageFilter


@dataclass(frozen=True)
class Corruption:
    """One kind of corruption at one level.

    Attributes:
        kind: key of `KINDS`.
        level: JPEG quality, noise standard deviation (of 255), blur sigma in pixels, or scale; None for grayscale.
    """

    kind: str
    level: float | None = None

    @property
    def name(self) -> str:
        """Name such as jpeg_75, blur_0.5 or grayscale."""
        return self.kind if self.level is None else f"{self.kind}_{self.level:g}"


def jpeg(image: Image.Image, quality: float, rng: np.random.Generator) -> Image.Image:
    """Encode and decode once, 4:2:0 as most software does."""
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=int(quality), subsampling="4:2:0")
    return Image.open(buffer).convert("RGB")


def noise(image: Image.Image, std: float, rng: np.random.Generator) -> Image.Image:
    """Add Gaussian noise of standard deviation `std` (of 255) to each channel, rounded and clipped."""
    pixels = np.asarray(image, dtype=np.float32)
    noisy = pixels + rng.normal(0, std, pixels.shape).astype(np.float32)
    return Image.fromarray(noisy.round().clip(0, 255).astype(np.uint8))


def blur(image: Image.Image, sigma: float, rng: np.random.Generator) -> Image.Image:
    """Gaussian blur of standard deviation `sigma` pixels (Pillow's extended box approximation)."""
    return image.filter(ImageFilter.GaussianBlur(sigma))


def downscale(image: Image.Image, scale: float, rng: np.random.Generator) -> Image.Image:
    """Shrink by `scale` with antialiasing and enlarge back to the old size, both bicubic."""
    small = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    return image.resize(small, Image.Resampling.BICUBIC).resize(image.size, Image.Resampling.BICUBIC)


def grayscale(image: Image.Image, level: float, rng: np.random.Generator) -> Image.Image:
    """ITU-R 601 luma in all three channels."""
    return image.convert("L").convert("RGB")


KINDS: dict[str, Callable[[Image.Image, float, np.random.Generator], Image.Image]] = {
    "jpeg": jpeg,
    "noise": noise,
    "blur": blur,
    "downscale": downscale,
    "grayscale": grayscale,
}

LEVELS: dict[str, tuple[float | None, ...]] = {
    "jpeg": (95, 90, 75, 50),
    "noise": (2, 4, 8, 16),
    "blur": (0.5, 1, 2, 3),
    "downscale": (0.9, 0.8, 0.6, 0.4),
    "grayscale": (None,),
}
"""From mild to strong. The paper names only JPEG's levels; the others are this project's choice."""

CORRUPTIONS = {c.name: c for kind, levels in LEVELS.items() for c in (Corruption(kind, level) for level in levels)}


def corrupt(image: Image.Image, chosen: Corruption, rng: np.random.Generator) -> Image.Image:
    """Apply a corruption: RGB image -> RGB image of the same size; `rng` draws the noise."""
    return KINDS[chosen.kind](image, chosen.level if chosen.level is not None else 0.0, rng)
