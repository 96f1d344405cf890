"""The inputs that a detector accepts, and an input after decoding."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from typing import BinaryIO, TypeAlias

from .errors import ImageError
from .evidence.fact import Evidence
from .preprocess import ImageSource, LoadedImage
from .records import Record


@dataclass(frozen=True)
class NamedSource:
    """An image with a name.

    Attributes:
        name: the record's `path`.
        source: the image.
        error: why the input cannot be used, where that is known already.
    """

    name: str
    source: ImageSource
    error: str | None = None


AnySource: TypeAlias = ImageSource | NamedSource
"""An input of the detector."""


@dataclass(frozen=True)
class Prepared:
    """One input after decoding; exactly one of `image`, `error` and `previous` is set.

    Attributes:
        name: the record's `path`.
        image: the network's input.
        error: why there is none.
        sha256: of the input's bytes, hex; None where there are no bytes.
        reasons: sentences that follow from the image alone.
        evidence: facts from the file's metadata.
        previous: the record of an earlier run, which a resumed run takes over without scoring.
    """

    name: str
    image: LoadedImage | None = None
    error: str | None = None
    sha256: str | None = None
    reasons: tuple[str, ...] = ()
    evidence: tuple[Evidence, ...] = ()
    previous: Record | None = None


def open_image_file(path: str, name: str) -> BinaryIO:
    """Open a regular file for reading.

    Args:
        path: the file.
        name: its name in messages.

    Raises:
        ImageError: missing, unreadable, a folder, a symlink loop, or a device or pipe (reading one could block).
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
