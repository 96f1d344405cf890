"""Any image source -> an RGB image of 8 bits per channel, upright; every other outcome is one clear `ImageError`."""

from __future__ import annotations

import io
import os
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from os import PathLike, fspath
from typing import BinaryIO, TypeAlias

import numpy as np
from PIL import Image, ImageOps

from ..core.environment import pip_install
from ..core.errors import ImageError
from .jpeg_scans import check_scans
from .library_messages import take_error
from .modes import grey_scale, scale_to_8_bits, to_rgb
from .pixel_budget import PixelBudget

Opener: TypeAlias = Callable[[], AbstractContextManager[BinaryIO]]
"""Opens an image that is no file of its own when it is decoded: a member of an archive, for example."""
ImageSource: TypeAlias = (
    str | PathLike[str] | bytes | bytearray | memoryview | BinaryIO | np.ndarray | Image.Image | Opener
)

MAX_PIXELS = 178_000_000
"""Larger images are refused before they are decoded (a decompression bomb costs memory, not disk).

It lies just below Pillow's own limit, whose message is less clear.
"""

MAX_FILE_BYTES = 1 << 30
"""Larger files are refused before they are read: a sparse file of any size costs its sender nothing."""

IN_FLIGHT = PixelBudget(200_000_000)
"""All decoding threads together: one image of the largest size, or sixteen of 12 megapixels. Conversions need up to 16
bytes per pixel."""

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP", "DIB", "PPM", "JPEG2000", "AVIF", "HEIF", "TGA")
"""The only decoders used. Pillow knows many more, some of which start programs (EPS runs Ghostscript)."""

JPEG_FORMATS = ("JPEG", "MPO")
"""What Pillow calls a JPEG; MPO has further pictures behind the first."""

IMAGE_SUFFIXES = frozenset(
    (".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".apng", ".webp", ".gif", ".tif", ".tiff", ".bmp", ".dib",
     ".avif", ".heic", ".heif", ".ppm", ".pgm", ".pbm", ".pnm", ".tga", ".jp2", ".j2k", ".jpf", ".jpx")
)
"""Suffixes of the files taken from a folder, in any case. A file that is named itself is read whatever its suffix."""

HEIF_BRANDS = (b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1")
NO_HEIF = f"a HEIC image, as phones make them; reading it needs pillow-heif: {pip_install('formats')}"

_ORIENTATION, _TURNED = 0x0112, (5, 6, 7, 8)


@dataclass(frozen=True)
class DecodedImage:
    """A decoded image.

    Attributes:
        image: mode RGB, 8 bits per channel; smaller than `width` x `height` where the decoder was allowed to shrink it.
        width: of the image as displayed, at its native size.
        height: as `width`.
        opened: the open file, whose further frames can still be read; None for arrays and Pillow images.
    """

    image: Image.Image
    width: int
    height: int
    opened: Image.Image | None = None


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
    """The members of `FORMATS` that this Pillow can decode; HEIF needs the extra `formats`."""
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


def open_image_file(path: str, name: str) -> BinaryIO:
    """Open a regular file for reading.

    Args:
        path: the file.
        name: its name in messages.

    Raises:
        ImageError: missing, unreadable, a folder, a symlink loop, a device or pipe (reading one could block), or larger
            than `MAX_FILE_BYTES`.
    """
    try:
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    except FileNotFoundError:
        raise ImageError(f"{name}: no such file or folder", "missing") from None
    except PermissionError:
        raise ImageError(f"{name}: permission denied", "unreadable") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ImageError(f"{name}: cannot be opened ({reason})", "unreadable") from None
    status = os.fstat(handle)
    if stat.S_ISREG(status.st_mode) and status.st_size <= MAX_FILE_BYTES:
        return os.fdopen(handle, "rb")
    os.close(handle)
    if stat.S_ISREG(status.st_mode):
        raise ImageError(f"{name}: the file's {status.st_size:,} bytes are more than {MAX_FILE_BYTES:,}", "too_large")
    kind = "a folder" if stat.S_ISDIR(status.st_mode) else "not a regular file"
    raise ImageError(f"{name}: is {kind}, not an image", "unsupported")


@contextmanager
def opened(source: ImageSource, name: str) -> Iterator[BinaryIO | np.ndarray | Image.Image]:
    """A source as a seekable binary file at its start; arrays and Pillow images stay what they are.

    Raises:
        ImageError: as for `open_image_file`.
    """
    if isinstance(source, (str, PathLike)):
        with open_image_file(fspath(source), name) as file:
            yield file
    elif isinstance(source, (bytes, bytearray, memoryview)):
        yield io.BytesIO(source)
    elif isinstance(source, (np.ndarray, Image.Image)):
        yield source
    elif callable(source):
        with source() as file:
            yield file
    elif not source.seekable():
        yield io.BytesIO(source.read())
    else:
        source.seek(0)
        yield source


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
        file.seek(4)
        if "HEIF" not in usable_formats() and file.read(4) == b"ftyp" and file.read(4) in HEIF_BRANDS:
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
    with ExitStack() as stack:
        with named_errors(name, max_pixels):
            given = stack.enter_context(opened(source, name))
            encoded = not isinstance(given, (np.ndarray, Image.Image))
            if isinstance(given, (np.ndarray, Image.Image)):
                image = _from_array(given) if isinstance(given, np.ndarray) else given
                width, height = image.size
            else:
                image, width, height = _open_encoded(given, max_pixels, shrink_to)
            if width < 1 or height < 1:
                raise ImageError(f"the image has no pixels ({width} x {height})")
            if width * height > max_pixels:
                raise too_large(f"{width} x {height}", max_pixels)
            stack.enter_context(IN_FLIGHT.hold(width * height))
            scale = grey_scale(image)
            image.load()
            if _orientation(image) in _TURNED:
                width, height = height, width
            rgb = to_rgb(upright(image), scale)
        yield DecodedImage(rgb, width, height, image if encoded else None)


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
    """Whatever goes wrong with an image becomes an `ImageError` that names it."""
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
        reason = ": ".join(filter(None, (type(error).__name__, str(error), take_error())))
        raise ImageError(f"{name}: cannot be decoded ({reason})") from None


def too_large(size: str, max_pixels: int) -> ImageError:
    """The error of an image of more pixels than `max_pixels`."""
    return ImageError(f"{size} is more than {max_pixels:,} pixels; scale it down first", "too_large")
