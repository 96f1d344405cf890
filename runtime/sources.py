"""The images a detector accepts, and one after decoding."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from typing import BinaryIO, TypeAlias

from .errors import ImageError
from .preprocess import ImageSource, LoadedImage
from .records import Record


@dataclass(frozen=True)
class NamedSource:
    """An image and the name its record carries; `error` is set for an input already known to be unusable."""

    name: str
    source: ImageSource
    error: str | None = None


AnySource: TypeAlias = ImageSource | NamedSource
@dataclass(frozen=True)
class Prepared:
    """One input after decoding; exactly one of `image`, `error` and `previous` is set.

    `reasons` come from the image alone. `previous` is a record that a resumed run takes over without scoring again.
    """

    name: str
    image: LoadedImage | None = None
    error: str | None = None
    sha256: str | None = None
    reasons: tuple[str, ...] = ()
    previous: Record | None = None


def open_image_file(path: str, name: str) -> BinaryIO:
    """Open a regular file for reading; `name` is what messages call it.

    Raises:
        ImageError: missing, a folder, a device or pipe (which could block for ever), unreadable, a symlink loop.
    """
    try:
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    except FileNotFoundError:
        raise ImageError(f"{name}: no such file") from None
    except PermissionError:
        raise ImageError(f"{name}: permission denied") from None
    except (OSError, ValueError) as error:
        raise ImageError(f"{name}: cannot be opened ({getattr(error, 'strerror', None) or error})") from None
    mode = os.fstat(handle).st_mode
    if stat.S_ISREG(mode):
        return os.fdopen(handle, "rb")
    os.close(handle)
    kind = "a folder" if stat.S_ISDIR(mode) else "not a regular file"
    raise ImageError(f"{name}: is {kind}, not an image")
