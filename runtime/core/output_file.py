"""Output files of a run: one writer at a time, and an OSError is an OutputError that names the file."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from .atomic import replacing
from .errors import OutputError
from .text import display_name

try:
    import fcntl
except ImportError:  # not on Windows: there, two runs on one file are not told apart
    fcntl = None  # type: ignore[assignment]


@contextmanager
def writing(name: str | Path) -> Iterator[None]:
    """Raise what goes wrong in the block while `name` is written as an OutputError; a closed pipe passes through."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OutputError(f"{display_name(str(name))}: cannot be written ({error.strerror or error})") from None


@contextmanager
def locked(path: Path, shown: Path | None = None) -> Iterator[BinaryIO]:
    """Open `path` for appending, unbuffered, as its only writer. A file that did not exist and stays empty is removed.

    The lock ends with the process, however it ends, and so leaves nothing behind.

    Args:
        path: the file.
        shown: what messages call it, if not that.

    Raises:
        OutputError: another run is writing the file, or it cannot be opened.
    """
    path = Path(os.path.realpath(path))
    with writing(shown or path):
        path.parent.mkdir(parents=True, exist_ok=True)
        file, created = _open_locked(path, shown or path)
    with file:
        try:
            yield file
        except BaseException:
            if created and _names(path, file) and os.fstat(file.fileno()).st_size == 0:
                path.unlink(missing_ok=True)
            raise


def _open_locked(path: Path, shown: Path) -> tuple[BinaryIO, bool]:
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
    while True:
        created = not path.exists()
        file = os.fdopen(os.open(path, flags, 0o666), "ab", buffering=0)
        try:
            if not _lock(file):
                raise OutputError(f"{display_name(str(shown))}: another run is writing it; name another file, or wait")
            if _names(path, file):
                return file, created
        except BaseException:
            file.close()
            raise
        file.close()  # another run has replaced or removed the file between the opening and the lock


def _names(path: Path, file: BinaryIO) -> bool:
    """Whether `path` still names the open `file`."""
    return os.path.exists(path) and os.path.samestat(os.fstat(file.fileno()), os.stat(path))


def _lock(file: BinaryIO) -> bool:
    if fcntl is None:
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        return True
    return True


@contextmanager
def exclusive_path(path: str | Path) -> Iterator[Path]:
    """`atomic_path` for one run at a time, under a fixed temporary name: what a killed run left is used again.

    Raises:
        OutputError: another run is writing `path`, or the file cannot be written.
    """
    path = Path(os.path.realpath(path))
    temporary = path.with_name(f".{path.name}.part")
    with locked(temporary, path), replacing(temporary, path):
        yield temporary
