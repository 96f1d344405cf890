"""One interface for local paths and fsspec URLs: list, open, and write files atomically."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

from ..core.errors import MissingDependencyError, OutputError, UsageError
from ..core.files import atomic_path
from ..images.formats import IMAGE_SUFFIXES
from ..images.system_files import APPLE_DOUBLE, is_system_file, is_system_path
from ..scan.kinds import is_glob, is_web_url
from ..scan.urls import fetch

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]+://")


def is_url(name: str) -> bool:
    """Whether `name` is a URL for fsspec, such as `s3://...`, and no local path."""
    return _URL.match(name) is not None


def _resolve(url: str) -> tuple[Any, str]:
    """The fsspec file system of a URL, and the path in it.

    Raises:
        UsageError: the protocol is unknown.
        MissingDependencyError: the package for this protocol is not installed.
    """
    import fsspec

    try:
        return fsspec.core.url_to_fs(url)
    except ImportError as error:
        raise MissingDependencyError(f"{url}: {error}") from None
    except ValueError as error:
        raise UsageError(f"{url}: {error}") from None


def list_url(url: str) -> list[str]:
    """Files that a URL stands for, sorted: the file itself, the matches of a pattern, or all images below a prefix.

    Raises:
        UsageError: the protocol is unknown, the store does not allow listing, or the URL goes through one of http.
        MissingDependencyError: the package for this protocol is not installed.
    """
    if is_web_url(url):
        return [url]
    if any(map(is_web_url, url.split("::"))):
        raise UsageError(f"{url}: fsspec would fetch it from any address; name the archive itself, as http(s)://...")
    system, path = _resolve(url)
    try:
        if is_glob(path):
            names = sorted(name for name in system.glob(path) if not system.isdir(name))
        elif system.isdir(path):
            names = sorted(name for name in system.find(path) if os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES)
        else:
            return [url]
    except Exception as error:  # stores raise exceptions of their own, mostly about permissions
        raise UsageError(f"{url}: cannot be listed ({type(error).__name__}: {error})") from None
    names = [name for name in names if not _is_system(system, name, path)]
    return [system.unstrip_protocol(name) for name in names]


def _is_system(system: Any, name: str, named: str) -> bool:
    """Whether a file that was found below `named` is an operating system's."""
    return is_system_path(name, named) or is_system_file(name, lambda: system.cat_file(name, end=len(APPLE_DOUBLE)))


def open_binary(name: str) -> IO[bytes]:
    """Open a path or URL for reading; http(s) as `scan.urls.fetch`. The exceptions of the store pass through."""
    if is_web_url(name):
        return fetch(name)
    if not is_url(name):
        return open(name, "rb")
    import fsspec

    return fsspec.open(name, "rb").open()


class Folder:
    """The output folder, local or remote; files are written atomically."""

    def __init__(self, name: str) -> None:
        import fsspec

        self.name, self._remote = name, is_url(name)
        local = fsspec.filesystem("file"), os.path.abspath(name)
        self._system, self._path = _resolve(name) if self._remote else local

    def names(self) -> set[str]:
        """Names of the files in the folder; empty if the folder does not exist."""
        if not self._system.exists(self._path):
            return set()
        return {os.path.basename(name.rstrip("/")) for name in self._system.ls(self._path, detail=False)}

    def read(self, name: str) -> IO[bytes]:
        """Open a file of the folder for reading."""
        return self._system.open(f"{self._path}/{name}", "rb")

    def publish(self, name: str, write: Callable[[Path], None]) -> None:
        """Write a file atomically over an earlier file of this name; `write` fills a temporary file.

        Raises:
            OutputError: the file cannot be written.
        """
        try:
            if not self._remote:
                with atomic_path(f"{self._path}/{name}") as temporary:
                    write(temporary)
                return
            with tempfile.TemporaryDirectory(prefix="cinemae-") as scratch:
                local = Path(scratch, "file")
                write(local)
                self._system.makedirs(self._path, exist_ok=True)
                # Object stores make an upload visible when it is complete; on other systems, renaming does.
                temporary_name = f"{self._path}/.{name}.{os.getpid()}.tmp"
                self._system.put_file(str(local), temporary_name)
                self._system.mv(temporary_name, f"{self._path}/{name}")
        except OSError as error:
            raise OutputError(f"{self.name}/{name}: cannot be written ({error})") from None

    def publish_lines(self, name: str, lines: Iterator[str]) -> None:
        """Write a UTF-8 text file atomically."""

        def write(path: Path) -> None:
            with path.open("w", encoding="utf-8", newline="\n") as file:
                file.writelines(f"{line}\n" for line in lines)

        self.publish(name, write)
