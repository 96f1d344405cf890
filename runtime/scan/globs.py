"""Patterns such as `in/**/*.png`, expanded as a shell does it."""

from __future__ import annotations

import fnmatch
import os
import re
from collections.abc import Collection, Iterator

from ..core.errors import ImageError, UsageError
from ..core.text import display_name
from ..images.source import NamedSource
from .walk import Skipped, identity_of, listing, unreadable, walk

MAX_WILDCARDS = 100
_GLOB = re.compile(r"[*?\[]")


def is_glob(name: str) -> bool:
    """Whether `name` may be a pattern."""
    return _GLOB.search(name) is not None


def glob_inputs(
    pattern: str, excluded: Collection[tuple[int, int]] = (), skipped: Skipped | None = None
) -> Iterator[NamedSource]:
    """The files that a shell would expand `pattern` to; no match is one input with an error.

    Folders that match are walked, except for patterns with `**`, which name the files themselves. A folder that cannot
    be searched for matches is one input with an error, too.

    Raises:
        UsageError: more than `MAX_WILDCARDS` parts of the pattern have wildcards.
    """
    drive, rest = os.path.splitdrive(pattern)
    parts = [part for part in rest.split(os.sep) if part]
    if sum(map(is_glob, parts)) > MAX_WILDCARDS:
        raise UsageError(f"{display_name(pattern)}: more than {MAX_WILDCARDS} parts of the pattern have wildcards")
    matched = False
    failed: set[str] = set()
    for item in _match(drive + (os.sep if rest.startswith(os.sep) else ""), parts, excluded):
        if item.error is None and os.path.isdir(item.name):
            if "**" not in parts:
                matched = True
                yield from walk(item.name, excluded, skipped)
        elif item.name not in failed:  # a folder may be searched twice, for itself and for those below it
            matched = True
            failed.update([item.name] if item.error else [])
            yield item
    if not matched:
        yield NamedSource(pattern, error=ImageError("no such file, and no file matches it as a pattern", "missing"))


def _match(folder: str, parts: list[str], excluded: Collection[tuple[int, int]]) -> Iterator[NamedSource]:
    while parts and not is_glob(parts[0]):
        parent, folder, parts = folder, os.path.join(folder, parts[0]), parts[1:]
        try:
            os.lstat(folder)
        except (FileNotFoundError, NotADirectoryError, ValueError):
            return
        except OSError as error:
            yield unreadable(parent, error)
            return
    if excluded and identity_of(folder or os.curdir) in excluded:
        return
    if not parts:
        yield NamedSource(folder)
        return
    head, *tail = parts
    if head == "**":
        for path, is_folder in _below(folder, excluded):
            if isinstance(path, NamedSource):
                yield path
            elif is_folder and tail:
                yield from _match(path, tail, excluded)
            elif not is_folder and not tail:
                yield NamedSource(path)
        return
    try:
        names = listing(folder)
    except NotADirectoryError:
        return
    except OSError as error:
        yield unreadable(folder, error)
        return
    for name, is_folder in names:
        hidden = name.startswith(".") and not head.startswith(".")
        if not hidden and fnmatch.fnmatchcase(name, head) and (is_folder or not tail):
            yield from _match(os.path.join(folder, name), tail, excluded)


def _below(folder: str, excluded: Collection[tuple[int, int]]) -> Iterator[tuple[NamedSource | str, bool]]:
    """`folder` and everything below it, and whether it is a folder; without hidden names and links to folders."""
    pending = [iter([(folder, True)])]
    while pending:
        path, is_folder = next(pending[-1], (None, False))
        if path is None:
            pending.pop()
            continue
        if is_folder and excluded and identity_of(path or os.curdir) in excluded:
            continue
        yield path, is_folder
        if is_folder:
            try:
                names = [name for name in listing(path) if not name[0].startswith(".")]
            except OSError as error:
                yield unreadable(path, error), False
                continue
            inside = ((os.path.join(path, name), is_folder) for name, is_folder in names)
            pending.append(iter([item for item in inside if not (item[1] and os.path.islink(item[0]))]))
