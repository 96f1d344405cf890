"""The inputs that a detector accepts, and how they are opened."""

from __future__ import annotations

import io
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from os import PathLike, fspath
from typing import BinaryIO, TypeAlias

import numpy as np
from PIL import Image

from ..core.errors import ImageError

Opener: TypeAlias = Callable[[], AbstractContextManager[BinaryIO]]
"""Opens an image inside another file, such as a member of an archive, when the image is decoded."""
ImageSource: TypeAlias = (
    str | PathLike[str] | bytes | bytearray | memoryview | BinaryIO | np.ndarray | Image.Image | Opener
)

MAX_FILE_BYTES = 1 << 30
"""Larger files are refused before they are read: a sparse file of any size costs its sender nothing."""


@dataclass(frozen=True)
class NamedSource:
    """An image with a name: a file of a folder, a member of an archive, an upload.

    Attributes:
        name: the record's `path`.
        source: the image; None for the file `name`.
        error: why the input cannot be used, where that is known already.
    """

    name: str
    source: ImageSource | None = None
    error: ImageError | None = None

    @property
    def image(self) -> ImageSource:
        """What is decoded."""
        return self.name if self.source is None else self.source


AnySource: TypeAlias = ImageSource | NamedSource
"""An input of the detector."""


def describe(source: ImageSource) -> str:
    """A short name for messages: the path, or what kind of object it is."""
    if isinstance(source, (str, PathLike)):
        return fspath(source)
    if isinstance(source, (bytes, bytearray, memoryview)):
        return f"<{len(source)} bytes>"
    return f"<{type(source).__name__}>"


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
    """A source as a seekable binary file at its start; arrays and Pillow images are passed on.

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
