"""The one image preprocessing, used by training, export checks and the runtime alike: file -> uint8 [224, 224, 3]."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image

from ..core.manifest import Preprocess
from .decode import MAX_PIXELS, DecodedImage, ImageSource, decoded

MAX_ASPECT = 16
"""Above this aspect ratio only the part inside the crop is resampled: a 1 x 5000 image would become 256 x 1,280,000.

Pillow then runs its two resampling passes in another order and clips overshoot at another point, which changes
high-contrast pixels by up to 20 of 255. All other images are resized whole and then cropped, as other tools do it.
"""

SCALED_MARGIN = 2
"""`decode: scaled` halves an image while its short side stays at least this many times as long as the resize makes it.

The JPEG decoder does so itself, up to three times (`shrink_to`); of all other pixels, `shrunk` averages blocks.
"""


@dataclass(frozen=True)
class LoadedImage:
    """An image as the network sees it.

    Attributes:
        pixels: uint8 [crop, crop, 3] RGB, values 0 to 255.
        width: of the image as displayed, before any resize.
        height: as `width`.
        scored_area: share of the image's area that is scored, in (0, 1].
    """

    pixels: np.ndarray
    width: int
    height: int
    scored_area: float

    @property
    def grayscale(self) -> bool:
        """Whether every pixel of `pixels` has R = G = B."""
        red, green, blue = np.moveaxis(self.pixels, 2, 0)
        return bool((red == green).all() and (green == blue).all())


def shrunk(image: Image.Image, preprocess: Preprocess) -> Image.Image:
    """RGB image -> the same, halved as often as `preprocess.decode` allows, by averages of 2 x 2, 4 x 4 ... pixels.

    Sides are rounded up, as the JPEG decoder does: an image that it has shrunk gets as small as any other.
    """
    least = shrink_to(preprocess)
    most = 1 if least is None else (min(image.size) - 1) // (least - 1)  # ceil(side / most) >= least
    return image.reduce(1 << most.bit_length() - 1) if most > 1 else image


def resize_crop(image: Image.Image, preprocess: Preprocess) -> np.ndarray:
    """RGB image -> uint8 [crop, crop, 3]: short side resized with antialiasing, then the centre cut out."""
    image = shrunk(image, preprocess)
    width, height = image.size
    short, crop = preprocess.resize_short, preprocess.crop
    scale = short / min(width, height)
    new_width, new_height = max(round(width * scale), short), max(round(height * scale), short)
    left, top = (new_width - crop) // 2, (new_height - crop) // 2
    resample = Image.Resampling.BICUBIC
    if max(new_width, new_height) <= MAX_ASPECT * short:
        resized = image.resize((new_width, new_height), resample).crop((left, top, left + crop, top + crop))
    else:
        fx, fy = width / new_width, height / new_height
        box = (left * fx, top * fy, (left + crop) * fx, (top + crop) * fy)
        resized = image.resize((crop, crop), resample, box=box)
    return np.asarray(resized, dtype=np.uint8)


def shrink_to(preprocess: Preprocess) -> int | None:
    """How far `decode.decoded` may shrink a JPEG: the side that must be left, or None to decode it whole."""
    return SCALED_MARGIN * preprocess.resize_short if preprocess.decode == "scaled" else None


def prepare(image: DecodedImage, preprocess: Preprocess) -> LoadedImage:
    """Resize and crop an image of any size to the network's input."""
    short, long = sorted((image.width, image.height))
    area = (preprocess.crop / preprocess.resize_short) ** 2 * short / long
    return LoadedImage(resize_crop(image.image, preprocess), image.width, image.height, area)


def load_image(
    source: ImageSource, preprocess: Preprocess, max_pixels: int = MAX_PIXELS, name: str | None = None
) -> LoadedImage:
    """Decode, resize and crop one image; the same file gives the same result as a path, bytes or stream.

    An array or Pillow image of the same pixels does too, except for a large JPEG under `decode: scaled`, whose decoder
    shrinks it otherwise than by averages.

    Args:
        source: path, bytes, binary file, Pillow image or array.
        preprocess: the engine's preprocessing.
        max_pixels: images with more pixels are refused.
        name: the source's name in messages, None to describe it.

    Raises:
        ImageError: as for `decode.decode`.
    """
    with decoded(source, max_pixels, name, shrink_to(preprocess)) as one:
        return prepare(one, preprocess)
