"""The image files below a folder, lazily and in name order."""

from __future__ import annotations

import errno
import os
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field

from ..core.environment import pip_install
from ..core.errors import ImageError
from ..core.text import display_name
from .formats import VIDEO_SUFFIXES, has_image_suffix, is_image_file
from .source import NamedSource
from .system_files import is_system_file, is_system_name


@dataclass
class Skipped:
    """Counts the files that are no images, by suffix.

    Attributes:
        suffixes: lower-case suffix -> number of files; "" for files without one.
    """

    suffixes: Counter[str] = field(default_factory=Counter)

    MAX_SUFFIXES = 1000
    """Different suffixes that are counted apart, so that memory does not grow with the number of files."""
    NAMED = 8

    def add(self, path: str) -> None:
        """Count one file."""
        suffix = os.path.splitext(path)[1].lower()
        self.suffixes[suffix if suffix in self.suffixes or len(self.suffixes) < self.MAX_SUFFIXES else "others"] += 1

    def summary(self) -> str:
        """For people: `5 files skipped (no images): .pdf 2, .txt 2, without suffix 1`; empty if there are none."""
        total = self.suffixes.total() if hasattr(self.suffixes, "total") else sum(self.suffixes.values())
        if not total:
            return ""
        counts = sorted(self.suffixes.items(), key=lambda item: (-item[1], item[0]))
        named = [f"{display_name(name) or 'without suffix'} {count:,}" for name, count in counts[: self.NAMED]]
        rest = sum(count for _, count in counts[self.NAMED :])
        named += [f"others {rest:,}"] if rest else []
        text = f"{total:,} {'file' if total == 1 else 'files'} skipped (no images): {', '.join(named)}"
        return f"{text}; for videos, {pip_install('video')}" if VIDEO_SUFFIXES & self.suffixes.keys() else text


def identity_of(path: str) -> tuple[int, int] | None:
    """Device and inode of a path; None where they cannot be found out."""
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return None
    return status.st_dev, status.st_ino


def identities(folders: Collection[str]) -> set[tuple[int, int]]:
    """Device and inode of each folder that there is."""
    return {identity for folder in folders if (identity := identity_of(folder)) is not None}


def unreadable(folder: str, error: OSError) -> NamedSource:
    """The input that stands for a folder or link that cannot be looked into."""
    return NamedSource(folder, error=ImageError(f"the folder cannot be read ({error.strerror})", "unreadable"))


def walk(
    folder: str,
    excluded: Collection[tuple[int, int]] = (),
    skipped: Skipped | None = None,
    wanted: Callable[[str], bool] = is_image_file,
    enter: Callable[[str], bool] = lambda folder: not is_system_name(os.path.basename(folder)),
) -> Iterator[NamedSource]:
    """Image files below `folder`, in name order.

    Symbolic links are followed, and each real folder is entered once. A broken link counts as an input, and a folder
    that cannot be read gives one input with an error, so that no image is left out silently.

    Args:
        folder: where to start; "" is the current folder, and its paths are relative.
        excluded: (device, inode) of folders that are not entered.
        skipped: counts the files that are not `wanted`.
        wanted: tells whether a file is an input.
        enter: tells whether a folder below is entered; by default all are but those of operating systems.
    """
    seen = set(excluded)
    identity = identity_of(folder or os.curdir)
    if identity is not None:
        if identity in seen:
            return
        seen.add(identity)
    pending = [_entries(folder)]
    while pending:
        entry = next(pending[-1], None)
        if entry is None:
            pending.pop()
        elif isinstance(entry, NamedSource):
            yield entry
        elif entry.endswith(os.sep):
            path = entry.rstrip(os.sep)
            if not enter(path):
                continue
            try:
                status = os.stat(path)
            except OSError as error:  # most often: its parent may be listed and not searched, or the path is too long
                yield unreadable(path, error)
                continue
            if (status.st_dev, status.st_ino) not in seen:
                seen.add((status.st_dev, status.st_ino))
                pending.append(_entries(path))
        elif wanted(entry):
            yield NamedSource(entry)
        elif skipped is not None and not is_system_file(entry):
            skipped.add(entry)


def _entries(folder: str) -> Iterator[NamedSource | str]:
    """Paths in `folder`, sorted by name; folders end with the separator."""
    try:
        listed = listing(folder)
    except OSError as error:
        yield unreadable(folder, error)
        return
    for name, is_folder in listed:
        path = os.path.join(folder, name)
        yield path + os.sep if is_folder else path


def listing(folder: str) -> list[tuple[str, bool]]:
    """Names in a folder, sorted, and whether each is a folder, too; a link that may lead to one counts as a folder.

    Raises:
        OSError: the folder cannot be read.
    """
    with os.scandir(folder or os.curdir) as entries:
        return sorted((entry.name, _is_folder(entry)) for entry in entries)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError as error:
        return error.errno != errno.ELOOP and not has_image_suffix(entry.name)
