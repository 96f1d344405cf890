"""Pillow's image modes to 8-bit RGB: deep grey scaled, alpha over white, CMYK and palettes converted."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from PIL import Image

from ..core.errors import ImageError

_BITS_PER_SAMPLE, _PHOTOMETRIC, _PLANAR_CONFIGURATION = 258, 262, 284
_WHITE_IS_ZERO, _SEPARATE_PLANES = 0, 2


class GreyScale(NamedTuple):
    """How the values of a grey image of more than 8 bits are meant.

    Attributes:
        bits: of the largest value, up to 16.
        white_is_zero: small values are bright.
    """

    bits: int = 16
    white_is_zero: bool = False


SIXTEEN_BITS = GreyScale()


def grey_scale(image: Image.Image) -> GreyScale:
    """The grey values' scale, which only TIFF files state; elsewhere values fill 16 bits.

    Raises:
        ImageError: a TIFF whose pixels Pillow would misread.
    """
    tags = getattr(image, "tag_v2", None) if image.format == "TIFF" else None
    if tags is None:
        return SIXTEEN_BITS
    if image.mode in ("LA", "La") and tags.get(_PLANAR_CONFIGURATION) == _SEPARATE_PLANES:
        raise ImageError("a grey TIFF with its alpha in a plane of its own, which is read as wholly transparent; "
                         "save it with interleaved samples", "unsupported")
    bits = max(tags.get(_BITS_PER_SAMPLE, (1,)))
    if bits > 8 and tags.get(_PLANAR_CONFIGURATION) == _SEPARATE_PLANES and image.info.get("compression") == "raw":
        reason = f"an uncompressed {bits}-bit TIFF with separate colour planes; save it with interleaved ones"
        raise ImageError(reason, "unsupported")
    if image.mode == "I":
        reason = "a TIFF of signed or 32-bit whole numbers, whose black and white are not known; save 16 bits"
        raise ImageError(reason, "unsupported")
    return GreyScale(min(bits, 16), tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO)


@lru_cache(maxsize=4)
def _eight_bits(scale: GreyScale) -> np.ndarray:
    """uint8 [65536]: [0, 2^bits - 1] -> [0, 255], rounded. Arithmetic on the image itself takes 8 times its size."""
    top = 2**scale.bits - 1
    table = ((np.arange(65536).clip(max=top) * 255 + top // 2) // top).astype(np.uint8)
    return 255 - table if scale.white_is_zero else table


def scale_to_8_bits(array: np.ndarray, scale: GreyScale = SIXTEEN_BITS) -> np.ndarray:
    """uint16 -> uint8 of the same shape."""
    scaled: np.ndarray = _eight_bits(scale)[array]
    return scaled


def to_rgb(image: Image.Image, scale: GreyScale = SIXTEEN_BITS) -> Image.Image:
    """Any Pillow image -> mode RGB: 16-bit scaled, alpha and transparent palettes over white, CMYK and L converted.

    Args:
        image: in any mode.
        scale: of grey values of more than 8 bits.
    """
    if image.mode.startswith("I;16") or image.mode == "I":
        values = np.asarray(image).clip(0, 65535).astype(np.uint16)
        grey = scale_to_8_bits(values, scale)
        if isinstance(clear := image.info.get("transparency"), int):
            grey[values == clear] = 255
        image = Image.fromarray(grey)
    elif image.mode == "F":
        values = np.nan_to_num(np.asarray(image), nan=0.0)
        top = 255.0 if values.max(initial=0) <= 1 else 1.0
        grey = (values * top).clip(0, 255).round().astype(np.uint8)
        image = Image.fromarray(255 - grey if scale.white_is_zero else grey)
    elif image.mode == "La":  # grey multiplied with its alpha, which Pillow converts to nothing else
        image = image.convert("LA")
    if image.mode in ("LA", "PA", "RGBA", "RGBa") or "transparency" in image.info:
        rgba = image if image.mode == "RGBA" else image.convert("RGBA")
        image = Image.new("RGB", rgba.size, "white")
        image.paste(rgba, mask=rgba)  # the same pixels as alpha_composite, at half its memory
    return image if image.mode == "RGB" else image.convert("RGB")
