"""The one image preprocessing, used by training, export checks and the runtime alike: file -> uint8 [224, 224, 3]."""

from __future__ import annotations

import io
import threading
from contextlib import nullcontext
from dataclasses import dataclass
from functools import lru_cache
from os import PathLike, fspath
from pathlib import Path
from typing import BinaryIO, TypeAlias

import numpy as np
from PIL import Image, ImageOps

from .errors import ImageError
from .manifest import Preprocess

ImageSource: TypeAlias = str | PathLike[str] | bytes | bytearray | memoryview | BinaryIO | np.ndarray | Image.Image

MAX_PIXELS = 178_000_000
"""Larger images are refused before they are decoded (a decompression bomb costs memory, not disk).

It lies just below Pillow's own limit, whose message is less clear.
"""

LARGE_PIXELS = 25_000_000
"""Larger images are decoded one at a time: conversions need up to 16 bytes per pixel in each decoding thread."""
_one_large_at_a_time = threading.Lock()

MAX_ASPECT = 16
"""Above this aspect ratio only the part inside the crop is resampled: a 1 x 5000 image would become 256 x 1,280,000.

Pillow then runs its two resampling passes in another order and clips overshoot at another point, which changes
high-contrast pixels by up to 20 of 255. All other images are resized whole and then cropped, as other tools do it.
"""

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP", "DIB", "PPM", "JPEG2000", "AVIF", "HEIF", "TGA")
"""The only decoders used. Pillow knows many more, some of which start programs (EPS runs Ghostscript)."""

IMAGE_SUFFIXES = frozenset(
    (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".webp", ".gif", ".tif", ".tiff", ".bmp", ".dib", ".avif",
     ".heic", ".heif", ".ppm", ".pgm", ".pnm", ".tga", ".jp2")
)
"""Suffixes of the files taken from a folder, in any case. A file that is named itself is read whatever its suffix."""


@dataclass(frozen=True)
class LoadedImage:
    """An image as the network sees it.

    Attributes:
        pixels: uint8 [crop, crop, 3] RGB, values 0 to 255.
        width: of the image as displayed, before any resize.
        height: as `width`.
        grayscale: every pixel of `pixels` has R = G = B.
    """

    pixels: np.ndarray
    width: int
    height: int
    grayscale: bool


def describe(source: ImageSource) -> str:
    """A short name for messages: the path, or what kind of object it is."""
    if isinstance(source, (str, PathLike)):
        return fspath(source)
    if isinstance(source, (bytes, bytearray, memoryview)):
        return f"<{len(source)} bytes>"
    return f"<{type(source).__name__}>"


_formats_lock = threading.Lock()
_formats: list[str] = []


def usable_formats() -> list[str]:
    """The members of `FORMATS` that this Pillow can decode; HEIF needs the extra `cinemae[formats]`."""
    with _formats_lock:
        if not _formats:
            try:
                import pillow_heif
            except ImportError:
                pass
            else:
                pillow_heif.register_heif_opener()
            Image.init()
            _formats.extend(name for name in FORMATS if name in Image.OPEN)
        return _formats


def _open(source: ImageSource) -> Image.Image:
    if isinstance(source, np.ndarray):
        return _from_array(source)
    if isinstance(source, Image.Image):
        return source
    if isinstance(source, (bytes, bytearray, memoryview)):
        return Image.open(io.BytesIO(source), formats=usable_formats())
    if isinstance(source, (str, PathLike)):
        return Image.open(Path(source), formats=usable_formats())
    return Image.open(source, formats=usable_formats())


def _from_array(array: np.ndarray) -> Image.Image:
    """uint8 or uint16 [H, W], [H, W, 1], [H, W, 3] or [H, W, 4] as a Pillow image."""
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    if array.dtype == np.uint16:
        array = _scale_16_bit(array)
    if array.dtype != np.uint8 or not (array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (3, 4))):
        raise ImageError(
            "an array must be uint8 or uint16 of shape [H, W], [H, W, 3] or [H, W, 4], "
            f"got {array.dtype} {list(array.shape)}"
        )
    return Image.fromarray(np.ascontiguousarray(array))


@lru_cache(maxsize=1)
def _eight_of_sixteen() -> np.ndarray:
    """uint8 [65536]: [0, 65535] -> [0, 255], rounded. Arithmetic on the image itself takes eight times its size."""
    return ((np.arange(65536) * 255 + 32767) // 65535).astype(np.uint8)


def _scale_16_bit(array: np.ndarray) -> np.ndarray:
    """uint16 -> uint8 of the same shape."""
    scaled: np.ndarray = _eight_of_sixteen()[array]
    return scaled


def to_rgb(image: Image.Image) -> Image.Image:
    """Any Pillow image -> mode RGB: 16-bit scaled, alpha and transparent palettes over white, CMYK and L converted."""
    if image.mode.startswith("I;16") or image.mode == "I":
        image = Image.fromarray(_scale_16_bit(np.asarray(image).clip(0, 65535).astype(np.uint16)))
    elif image.mode == "F":
        values = np.nan_to_num(np.asarray(image), nan=0.0)
        scale = 255.0 if values.max(initial=0) <= 1 else 1.0
        image = Image.fromarray((values * scale).clip(0, 255).round().astype(np.uint8))
    if image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info:
        rgba = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", rgba.size, (255, 255, 255, 255)), rgba)
    return image if image.mode == "RGB" else image.convert("RGB")


def resize_crop(image: Image.Image, preprocess: Preprocess) -> np.ndarray:
    """RGB image -> uint8 [crop, crop, 3]: short side resized with antialiasing, then the centre cut out."""
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


def _upright(image: Image.Image) -> Image.Image:
    """The image turned as its EXIF orientation says; damaged EXIF data is ignored."""
    try:
        return ImageOps.exif_transpose(image) or image
    except Exception:
        return image


def decode(source: ImageSource, max_pixels: int = MAX_PIXELS, name: str | None = None) -> Image.Image:
    """Open and fully decode one image (first frame), EXIF-transposed, mode RGB, at its native size.

    Args:
        source: the image.
        max_pixels: images with more pixels are refused.
        name: the source's name in messages, None to describe it.

    Returns:
        mode RGB, 8 bits per channel, width x height as displayed.

    Raises:
        ImageError: missing, unreadable, empty, truncated, not an image, or more than `max_pixels`; names the source.
    """
    name = describe(source) if name is None else name
    try:
        image = _open(source)
        width, height = image.size
        if width < 1 or height < 1:
            raise ImageError(f"{name}: the image has no pixels ({width} x {height})")
        if width * height > max_pixels:
            raise _too_large(name, f"{width} x {height}", max_pixels)
        with _one_large_at_a_time if width * height > LARGE_PIXELS else nullcontext():
            image.load()
            return to_rgb(_upright(image))
    except ImageError as error:
        raise ImageError(str(error) if str(error).startswith(f"{name}: ") else f"{name}: {error}") from None
    except FileNotFoundError:
        raise ImageError(f"{name}: no such file") from None
    except IsADirectoryError:
        raise ImageError(f"{name}: is a folder, not an image") from None
    except PermissionError:
        raise ImageError(f"{name}: permission denied") from None
    except MemoryError:
        raise ImageError(f"{name}: not enough memory to decode it") from None
    except Image.DecompressionBombError:
        raise _too_large(name, "it", max_pixels) from None
    except Image.UnidentifiedImageError:
        raise ImageError(f"{name}: not a readable image (empty, damaged, or another kind of file)") from None
    except Exception as error:  # Pillow's decoders raise almost anything on damaged data; each is one bad image
        raise ImageError(f"{name}: cannot be decoded ({type(error).__name__}: {error})") from None


def _too_large(name: str, size: str, max_pixels: int) -> ImageError:
    return ImageError(f"{name}: {size} is more than {max_pixels:,} pixels; scale it down first")


def prepare(image: Image.Image, preprocess: Preprocess) -> LoadedImage:
    """Resize and crop an RGB image of any size to the network's input."""
    pixels = resize_crop(image, preprocess)
    gray = bool((pixels[:, :, 0] == pixels[:, :, 1]).all() and (pixels[:, :, 1] == pixels[:, :, 2]).all())
    return LoadedImage(pixels, image.width, image.height, gray)


def load_image(
    source: ImageSource, preprocess: Preprocess, max_pixels: int = MAX_PIXELS, name: str | None = None
) -> LoadedImage:
    """Decode, resize and crop one image; the same pixels give the same result from a path, bytes, file or array.

    Args:
        source: path, bytes, binary file, Pillow image or array.
        preprocess: the engine's preprocessing.
        max_pixels: images with more pixels are refused.
        name: the source's name in messages, None to describe it.

    Raises:
        ImageError: as for `decode`.
    """
    return prepare(decode(source, max_pixels, name), preprocess)
