"""Changes of an image at its native size, before the network's resize; both classes are always changed alike.

`none` is the paper. `robust` rescales and re-encodes. `balanced` is the format-balanced protocol: GenImage's real
images are JPEGs of many sizes and its fakes are PNGs of one size, and a detector can learn that instead of the picture,
so every image becomes a square of one size, encoded once more as JPEG at one quality. The square is a random crop
slightly below the full one, so that every image is resampled and an older 8x8 JPEG grid is shifted and stretched.
Traces of the native resolution and of earlier compression are weakened, but not removed; `audit --balanced` measures
what is left.
`delivery` has three views of every image, as platforms deliver it: as found, at most 768 px at JPEG 60, at most 512 px
at JPEG 40.
`corruption:KIND_LEVEL` are the corruptions of the robustness study [Table 3, Fig. 6].
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageFilter

from ...runtime.core.errors import UsageError

Transform = Callable[[Image.Image, np.random.Generator], Image.Image]
"""Takes an RGB image and a random generator seeded by the file's content; returns an RGB image."""

ROBUST_QUALITY = (30, 100)
ROBUST_SCALE = (0.5, 1.5)
ROBUST_FILTERS = (Image.Resampling.BILINEAR, Image.Resampling.BICUBIC, Image.Resampling.LANCZOS)
BALANCED_SIDE, BALANCED_QUALITY = 256, 90
BALANCED_CROP = (0.85, 0.95)
"""Range of the side of the random crop, as a share of the short side."""


def content_rng(content: str, seed: int = 0, view: int = 0) -> np.random.Generator:
    """Random generator for a view of the file with SHA-256 `content`: the same in every process and run."""
    return np.random.default_rng([seed, view, int(content[:16], 16)])


def jpeg_bytes(image: Image.Image, quality: int) -> bytes:
    """The image as a JPEG file, 4:2:0 as most software writes, without metadata."""
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality, subsampling="4:2:0")
    return buffer.getvalue()


def reencode(image: Image.Image, quality: int) -> Image.Image:
    """Encode as JPEG at `quality` and decode again."""
    return Image.open(io.BytesIO(jpeg_bytes(image, quality))).convert("RGB")


def unchanged(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Return the image as it is."""
    return image


def robust(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Rescale by a random factor with a random filter, then JPEG at a quality of 30 to 100."""
    factor = rng.uniform(*ROBUST_SCALE)
    method = ROBUST_FILTERS[rng.integers(len(ROBUST_FILTERS))]
    size = (max(1, round(image.width * factor)), max(1, round(image.height * factor)))
    return reencode(image.resize(size, method), int(rng.integers(ROBUST_QUALITY[0], ROBUST_QUALITY[1] + 1)))


def balanced_bytes(image: Image.Image, rng: np.random.Generator) -> bytes:
    """The JPEG file that the format-balanced protocol makes of an RGB image of native size; `rng` draws the crop."""
    side = rng.uniform(*BALANCED_CROP) * min(image.size)
    left, top = rng.uniform(0, image.width - side), rng.uniform(0, image.height - side)
    box = (left, top, left + side, top + side)
    square = image.resize((BALANCED_SIDE, BALANCED_SIDE), Image.Resampling.BICUBIC, box=box)
    return jpeg_bytes(square, BALANCED_QUALITY)


def balanced(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """The decoded result of `balanced_bytes`: RGB [256, 256]."""
    return Image.open(io.BytesIO(balanced_bytes(image, rng))).convert("RGB")


@dataclass(frozen=True)
class Tier:
    """A transform: an image as a platform delivers it.

    Attributes:
        side: largest length of the longer side in pixels.
        quality: of the JPEG.
    """

    side: int
    quality: int

    @property
    def name(self) -> str:
        """Name in tables, as "512 px, JPEG 40"."""
        return f"{self.side} px, JPEG {self.quality}"

    def __call__(self, image: Image.Image, rng: np.random.Generator) -> Image.Image:
        """The delivered image; smaller images keep their size."""
        small = image.copy()
        small.thumbnail((self.side, self.side), Image.Resampling.BICUBIC)
        return reencode(small, self.quality)


DELIVERY = "delivery"
TIERS = (Tier(768, 60), Tier(512, 40))
"""Views 1 and 2 of the augmentation `delivery`; view 0 is the image as found."""


@dataclass(frozen=True)
class Corruption:
    """A transform: one kind of corruption at one level; the result has the size of the image.

    Attributes:
        kind: jpeg, noise, blur, downscale or grayscale (ITU-R 601 luma in all channels).
        level: JPEG quality, standard deviation of the noise (of 255), sigma of the blur in pixels, or scale.
    """

    kind: str
    level: float | None = None

    @property
    def name(self) -> str:
        """Name such as jpeg_75, blur_0.5 or grayscale."""
        return self.kind if self.level is None else f"{self.kind}_{self.level:g}"

    def __call__(self, image: Image.Image, rng: np.random.Generator) -> Image.Image:
        """The corrupted image; `rng` draws the noise."""
        level = self.level or 0.0
        if self.kind == "jpeg":
            return reencode(image, int(level))
        if self.kind == "noise":
            pixels = np.asarray(image, dtype=np.float32)
            noisy = pixels + rng.normal(0, level, pixels.shape).astype(np.float32)
            return Image.fromarray(noisy.round().clip(0, 255).astype(np.uint8))
        if self.kind == "blur":
            return image.filter(ImageFilter.GaussianBlur(level))
        if self.kind == "downscale":  # and enlarge back, both bicubic and antialiased
            small = (max(1, round(image.width * level)), max(1, round(image.height * level)))
            return image.resize(small, Image.Resampling.BICUBIC).resize(image.size, Image.Resampling.BICUBIC)
        return image.convert("L").convert("RGB")


LEVELS: dict[str, tuple[float | None, ...]] = {
    "jpeg": (95, 90, 75, 50),
    "noise": (2, 4, 8, 16),
    "blur": (0.5, 1, 2, 3),
    "downscale": (0.9, 0.8, 0.6, 0.4),
    "grayscale": (None,),
}
"""From mild to strong. The paper names only JPEG's levels; the others are this project's choice."""

CORRUPTIONS = {c.name: c for kind, levels in LEVELS.items() for c in (Corruption(kind, level) for level in levels)}
AUGMENTATIONS: dict[str, Transform] = {"none": unchanged, "robust": robust, "balanced": balanced}
TRANSFORMS: dict[str, Transform] = {**AUGMENTATIONS, **{f"corruption:{name}": one for name, one in CORRUPTIONS.items()}}
"""All by the name that a cache records (`CacheSpec.augment`)."""


def transform_of(augment: str, view: int = 0) -> Transform:
    """The transform of a view."""
    if augment == DELIVERY:
        return TIERS[view - 1] if view else unchanged
    return TRANSFORMS[augment]


def untiered(source: str) -> str:
    """Name of a source without that of a tier of `delivery`."""
    for tier in TIERS:
        source = source.removesuffix(f", {tier.name}")
    return source


def tier_of(source: str) -> str:
    """What a tier of `delivery` adds to the name of a source; "" for images as found."""
    return source[len(untiered(source)) :]


def check_augment(name: str) -> None:
    """Raise UsageError for an unknown transform; the message lists the augmentations."""
    if name != DELIVERY and name not in TRANSFORMS:
        raise UsageError(f"unknown augmentation {name!r}; there are: {', '.join((*AUGMENTATIONS, DELIVERY))}")
