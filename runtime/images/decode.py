"""Any image source -> an RGB image of 8 bits per channel, upright; every other outcome is one clear `ImageError`."""

from __future__ import annotations

import ctypes
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageOps

from ..core.errors import ImageError
from ..core.text import shown
from .flaws import Flaw, check_scans, completed_jpeg, without_bad_chunks
from .formats import HEIF_BRANDS, JPEG_FORMATS, NO_HEIF, usable_formats
from .jpeg_xl import NOT_READ, jpeg_xl_size
from .library_messages import take_error
from .modes import grey_scale, scale_to_8_bits, to_rgb
from .source import ImageSource, describe, opened

MAX_PIXELS = 178_000_000
"""Larger images are refused before they are decoded (a decompression bomb costs memory, not disk).

It lies just below Pillow's own limit, whose message is less clear.
"""

LARGE_PIXELS = 25_000_000
"""Before an image with more pixels, `malloc_trim` returns freed memory to the system.

glibc keeps freed memory for each thread: eight images of 178 megapixels, decoded in turn by eight threads, left eight
times the memory of a single image.
"""

_malloc_trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None


class PixelBudget:
    """Lets images into memory while their pixels fit; an image larger than the whole budget is held alone.

    Attributes:
        pixels: held at most at the same time.
    """

    def __init__(self, pixels: int) -> None:
        self._free = self.pixels = pixels
        self._freed = threading.Condition()
        self._turn = threading.Lock()

    @contextmanager
    def hold(self, pixels: int) -> Iterator[None]:
        """Wait until `pixels` fit, and hold them during the context.

        The thread that waits keeps the turn, so that small images cannot keep a large one out for ever.
        """
        share = min(pixels, self.pixels)
        with self._turn, self._freed:
            self._freed.wait_for(lambda: share <= self._free)
            self._free -= share
            if share > LARGE_PIXELS and _malloc_trim is not None:
                _malloc_trim(0)
        try:
            yield
        finally:
            with self._freed:
                self._free += share
                self._freed.notify_all()


IN_FLIGHT = PixelBudget(200_000_000)
"""All decoding threads together: one image of the largest size, or sixteen of 12 megapixels. Conversions need up to 16
bytes per pixel."""

_ORIENTATION, _TURNED = 0x0112, (5, 6, 7, 8)


@dataclass(frozen=True)
class DecodedImage:
    """A decoded image.

    Attributes:
        image: mode RGB, 8 bits per channel; smaller than `width` x `height` where the decoder was allowed to shrink it.
        width: of the image as displayed, at its native size.
        height: as `width`.
        opened: the open file, whose further frames can still be read; None for arrays and Pillow images.
        flaw: what is wrong with the file beside its pixels.
    """

    image: Image.Image
    width: int
    height: int
    opened: Image.Image | None = None
    flaw: Flaw | None = None


def _from_array(array: np.ndarray) -> Image.Image:
    """uint8 or uint16 [H, W], [H, W, 1], [H, W, 3] or [H, W, 4] as a Pillow image."""
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    if array.dtype == np.uint16:
        array = scale_to_8_bits(array)
    if array.dtype != np.uint8 or not (array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (3, 4))):
        raise ImageError(
            "an array must be uint8 or uint16 of shape [H, W], [H, W, 3] or [H, W, 4], "
            f"got {array.dtype} {list(array.shape)}",
            "unsupported",
        )
    return Image.fromarray(np.ascontiguousarray(array))


def upright(image: Image.Image) -> Image.Image:
    """The image turned as its EXIF orientation says, itself where there is nothing to turn; damaged EXIF is ignored."""
    try:
        return image if _orientation(image) == 1 else ImageOps.exif_transpose(image) or image
    except Exception:
        return image


def _orientation(image: Image.Image) -> int | None:
    """The EXIF orientation, 1 where none is stated; None where it cannot be read."""
    if image.format == "JXL" and not getattr(image, "jpeg", False):
        return 1  # turned by its decoder; EXIF counts only where the file holds a JPEG
    try:
        stated: int = image.getexif().get(_ORIENTATION, 1)
        return stated
    except Exception:
        return None


def _open_encoded(file: BinaryIO, max_pixels: int, shrink_to: int | None) -> tuple[Image.Image, int, int]:
    """Read the header of an encoded image, check what decoding would cost, and choose the decoder's scale."""
    try:
        image = Image.open(file, formats=usable_formats())
    except Image.UnidentifiedImageError:
        file.seek(0)
        head = file.read(12)
        if "HEIF" not in usable_formats() and head[4:8] == b"ftyp" and head[8:12] in HEIF_BRANDS:
            raise ImageError(NO_HEIF, "unsupported") from None
        raise
    width, height = image.size
    if image.format in JPEG_FORMATS and width * height <= max_pixels:
        check_scans(file, width * height)
        if shrink_to is not None:
            image.draft(None, (shrink_to, shrink_to))
    return image, width, height


@contextmanager
def decoded(
    source: ImageSource, max_pixels: int = MAX_PIXELS, name: str | None = None, shrink_to: int | None = None
) -> Iterator[DecodedImage]:
    """As `decode`; the context holds the image's share of the pixels that may be in memory (`IN_FLIGHT`).

    Args:
        source: the image.
        max_pixels: images with more pixels are refused.
        name: the source's name in messages, None to describe it.
        shrink_to: an encoded JPEG may be decoded at half, a quarter or an eighth of its size (fewer DCT coefficients
            are transformed) while neither side falls below this; None decodes it whole.

    Raises:
        ImageError: as for `decode`.
    """
    name = describe(source) if name is None else name

    def load_again(file: BinaryIO) -> Image.Image:
        again = _open_encoded(file, max_pixels, shrink_to)[0]
        again.load()
        return again

    def claim(width: int, height: int) -> None:
        if width < 1 or height < 1:
            raise ImageError(f"the image has no pixels ({width} x {height})")
        if width * height > max_pixels:
            raise too_large(f"{width} x {height}", max_pixels)
        stack.enter_context(IN_FLIGHT.hold(width * height))

    with ExitStack() as stack:
        with named_errors(name, max_pixels):
            given = stack.enter_context(opened(source, name))
            flaw: Flaw | None = None
            file = None if isinstance(given, (np.ndarray, Image.Image)) else given
            early = file and jpeg_xl_size(file)  # its plugin decodes where others read a header
            if early:
                if "JXL" not in usable_formats():
                    raise ImageError(NOT_READ, "unsupported")
                claim(*early)
            if isinstance(given, (np.ndarray, Image.Image)):
                image = _from_array(given) if isinstance(given, np.ndarray) else given
                width, height = image.size
            else:
                whole = without_bad_chunks(given)
                flaw = "checksum" if whole else None
                image, width, height = _open_encoded(whole or given, max_pixels, shrink_to)
            if not early:
                claim(width, height)
            scale = grey_scale(image)
            try:
                image.load()
            except OSError:
                mended = file and image.format in JPEG_FORMATS and completed_jpeg(file, load_again)
                if not mended:
                    raise
                image, flaw = mended, "end"
            if _orientation(image) in _TURNED:
                width, height = height, width
            rgb = to_rgb(upright(image), scale)
        yield DecodedImage(rgb, width, height, None if file is None else image, flaw)


def decode(source: ImageSource, max_pixels: int = MAX_PIXELS, name: str | None = None) -> Image.Image:
    """Open and fully decode one image (first frame), EXIF-transposed, mode RGB, at its native size.

    Args:
        source: the image.
        max_pixels: images with more pixels are refused.
        name: the source's name in messages, None to describe it.

    Returns:
        mode RGB, 8 bits per channel, width x height as displayed.

    Raises:
        ImageError: missing, unreadable, empty, truncated, not an image, or too large or too costly to decode; names the
            source.
    """
    with decoded(source, max_pixels, name) as one:
        return one.image


@contextmanager
def named_errors(name: str, max_pixels: int) -> Iterator[None]:
    """Turn every error of an image into an `ImageError` that names the image."""
    take_error()  # of an earlier image
    try:
        yield
    except ImageError as error:
        text = str(error) if str(error).startswith(f"{name}: ") else f"{name}: {error}"
        raise ImageError(text, error.kind) from None
    except MemoryError:
        raise ImageError(f"{name}: not enough memory to decode it", "too_large") from None
    except Image.DecompressionBombError:
        raise ImageError(f"{name}: {too_large('it', max_pixels)}", "too_large") from None
    except Image.UnidentifiedImageError:
        text = f"{name}: not a readable image (empty, damaged, or another kind of file)"
        raise ImageError(text, "unsupported") from None
    except Exception as error:  # Pillow's decoders raise almost anything on damaged data; each is one bad image
        reason = ": ".join(filter(None, (type(error).__name__, shown(str(error).strip()), take_error())))
        raise ImageError(f"{name}: cannot be decoded ({reason})") from None


def too_large(size: str, max_pixels: int) -> ImageError:
    """The error of an image of more pixels than `max_pixels`."""
    return ImageError(f"{size} is more than {max_pixels:,} pixels; scale it down first", "too_large")
