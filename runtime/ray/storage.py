"""Local paths and fsspec URLs behind one small face: list, open, and publish whole files."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

from ..atomic import atomic_path
from ..errors import MissingDependencyError, OutputError, UsageError
from ..scan.inputs import IMAGE_SUFFIXES

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]+://")
_GLOB = re.compile(r"[*?\[]")


def is_url(name: str) -> bool:
    """Whether `name` is for fsspec (`s3://...`) rather than the local file system."""
    return _URL.match(name) is not None


def _resolve(url: str) -> tuple[Any, str]:
    """(file system, path) of a URL.

    Raises:
        UsageError: an unknown protocol. MissingDependencyError: its package is not installed.
    """
    import fsspec

    try:
        return fsspec.core.url_to_fs(url)
    except ImportError as error:
        raise MissingDependencyError(f"{url}: {error}") from None
    except ValueError as error:
        raise UsageError(f"{url}: {error}") from None


def list_url(url: str) -> list[str]:
    """Files behind a URL, sorted: itself, the matches of a pattern, or all images below a prefix.

    Raises:
        UsageError, MissingDependencyError: as `_resolve`; UsageError also where the store refuses to list.
    """
    system, path = _resolve(url)
    try:
        if _GLOB.search(path):
            found = sorted(name for name in system.glob(path) if not system.isdir(name))
        elif system.isdir(path):
            found = sorted(name for name in system.find(path) if os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES)
        else:
            return [url]
    except Exception as error:  # each store has its own exceptions, and most are about permissions
        raise UsageError(f"{url}: cannot be listed ({type(error).__name__}: {error})") from None
    return [system.unstrip_protocol(name) for name in found]


def open_binary(name: str) -> IO[bytes]:
    """Open a path or URL for reading. Raises whatever the store raises."""
    if not is_url(name):
        return open(name, "rb")
    import fsspec

    return fsspec.open(name, "rb").open()


class Folder:
    """The output folder, local or remote. A file appears in it whole or not at all."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._system: Any = None
        self._path = os.path.abspath(name)
        if is_url(name):
            self._system, self._path = _resolve(name)

    def names(self) -> set[str]:
        """Names of the files in it; empty when it does not exist."""
        if self._system is None:
            return set(os.listdir(self._path)) if os.path.isdir(self._path) else set()
        if not self._system.exists(self._path):
            return set()
        return {os.path.basename(name.rstrip("/")) for name in self._system.ls(self._path, detail=False)}

    def read(self, name: str) -> IO[bytes]:
        """Open one of its files."""
        if self._system is None:
            return open(os.path.join(self._path, name), "rb")
        return self._system.open(f"{self._path}/{name}", "rb")

    def publish(self, name: str, write: Callable[[Path], None]) -> None:
        """Let `write` fill a temporary file, then make it appear as `name`, replacing an earlier one.

        Raises:
            OutputError: it cannot be written.
        """
        try:
            if self._system is None:
                with atomic_path(os.path.join(self._path, name)) as temporary:
                    write(temporary)
                return
            with tempfile.TemporaryDirectory(prefix="cinemae-") as scratch:
                local = Path(scratch, "file")
                write(local)
                self._system.makedirs(self._path, exist_ok=True)
                # Object stores show an upload when it is complete; other systems get it by renaming.
                temporary_name = f"{self._path}/.{name}.{os.getpid()}.tmp"
                self._system.put_file(str(local), temporary_name)
                self._system.mv(temporary_name, f"{self._path}/{name}")
        except OSError as error:
            raise OutputError(f"{self.name}/{name}: cannot be written ({error})") from None

    def publish_lines(self, name: str, lines: Iterator[str]) -> None:
        """`publish` a UTF-8 text file."""

        def write(path: Path) -> None:
            with path.open("w", encoding="utf-8", newline="\n") as file:
                file.writelines(f"{line}\n" for line in lines)

        self.publish(name, write)
