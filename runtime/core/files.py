"""Files: written atomically, by one writer at a time, and their hashes. An OSError names the file.

A reader of an output sees the old file or the complete new one.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from .errors import OutputError
from .read_ahead import check_stop
from .text import display_name

try:
    import fcntl
except ImportError:  # not on Windows: there, two runs on one file are not told apart
    fcntl = None  # type: ignore[assignment]

CHUNK_BYTES = 1 << 22
"""Read size of a hash: memory stays flat for engines of several gigabytes."""
_UMASK = os.umask(0o077)
os.umask(_UMASK)
"""Reading the umask means setting it, which is not safe between threads: done once, while the module is imported."""


@contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success it is synced and renamed over it, on any error removed.

    A symbolic link is written through: the file that it names is replaced, and the link stays.
    """
    path = Path(os.path.realpath(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
    os.close(handle)
    with replacing(Path(name), path):
        yield Path(name)


@contextmanager
def replacing(temporary: Path, path: Path) -> Iterator[None]:
    """Sync `temporary` and rename it over `path` when the block succeeds; remove it on any error."""
    try:
        yield
        with temporary.open("r+b") as file:  # Windows syncs no handle that only reads
            os.fsync(file.fileno())
        temporary.chmod(0o666 & ~_UMASK)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_bytes(path: str | Path, data: bytes) -> None:
    """Write `data` to `path` atomically."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


def write_text(path: str | Path, text: str) -> None:
    """Write `text` to `path` as UTF-8, atomically."""
    write_bytes(path, text.encode("utf-8"))


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
            if created and not file.closed and _names(path, file) and os.fstat(file.fileno()).st_size == 0:
                _release(file)
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


def _release(file: BinaryIO) -> None:
    """Close a locked file that is renamed or removed next: Windows does neither to an open file, and has no lock."""
    if fcntl is None:
        file.close()


@contextmanager
def exclusive_path(path: str | Path) -> Iterator[Path]:
    """`atomic_path` for one run at a time, under a fixed temporary name: the next run overwrites a killed run's file.

    Raises:
        OutputError: another run is writing `path`, or the file cannot be written.
    """
    path = Path(os.path.realpath(path))
    temporary = path.with_name(f".{path.name}.part")
    with locked(temporary, path) as file, replacing(temporary, path):
        try:
            yield temporary
        finally:
            _release(file)


def stream_sha256(file: BinaryIO) -> str:
    """SHA-256 of an open file from its current position, hex; afterwards the position is 0."""
    digest = hashlib.sha256()
    while chunk := file.read(CHUNK_BYTES):
        digest.update(chunk)
        check_stop()
    file.seek(0)
    return digest.hexdigest()


def file_sha256(path: str | Path) -> str:
    """SHA-256 of a whole file, hex."""
    with Path(path).open("rb") as file:
        return stream_sha256(file)
