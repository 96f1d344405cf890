"""Patterns such as `in/**/*.png`, expanded as a shell does it."""

from __future__ import annotations

import fnmatch
import os
import re
import stat
from collections.abc import Collection, Iterator, Sequence

from ..core.errors import ImageError
from ..images.formats import is_image_file
from ..images.source import NamedSource
from ..images.system_files import is_system_file, is_system_name
from ..images.walk import Skipped, walk
from .kinds import is_glob

NO_MATCH = "no such file, and no file matches it as a pattern"


def glob_inputs(
    pattern: str, excluded: Collection[tuple[int, int]] = (), skipped: Skipped | None = None
) -> Iterator[NamedSource]:
    """The files that a shell would expand `pattern` to, in name order; no match is one input with an error.

    Folders that match are walked, except for patterns with `**`, which name the files themselves. A folder that cannot
    be searched for matches is one input with an error, too.
    """
    base, parts = _split(pattern)
    recursive, end = "**" in parts, len(parts)
    above: list[tuple[str, set[int] | None]] = [(os.path.join(base, ""), _with_none({0}, parts))]  # None: all is wanted

    def reached(path: str) -> set[int] | None:
        while not path.startswith(above[-1][0]):
            above.pop()
        folder, before = above[-1]
        return None if before is None else _behind(before, path[len(folder) :], parts)

    def enter(folder: str) -> bool:
        found = reached(folder)
        if found is None and is_system_name(os.path.basename(folder)):
            return False
        if found is not None and recursive and os.path.islink(folder):
            return False
        above.append((folder + os.sep, None if found is None or (end in found and not recursive) else found))
        return found is None or bool(found - {end} if recursive else found)

    def wanted(path: str) -> bool:
        found = reached(path)
        if found is not None:
            return end in found and (os.path.basename(path) in parts or not is_system_file(path))
        is_image = is_image_file(path)
        if skipped is not None and not is_image and not is_system_file(path):
            skipped.add(path)
        return is_image

    matched = False
    for item in walk(base, excluded, None, wanted, enter) if _may_be_folder(base) else ():
        matched = True
        yield item
    if not matched:
        yield NamedSource(pattern, error=ImageError(NO_MATCH, "missing"))


def _split(pattern: str) -> tuple[str, list[str]]:
    """The folder above the first part with a wildcard, and the parts from there on."""
    drive, rest = os.path.splitdrive(pattern)
    parts = [part for part in re.split(f"[{re.escape(os.sep + (os.altsep or ''))}]", rest) if part]
    first = next(number for number, part in enumerate(parts) if is_glob(part))
    root = os.sep if rest[0] in (os.sep, os.altsep) else ""
    return drive + root + os.sep.join(parts[:first]), parts[first:]


def _may_be_folder(path: str) -> bool:
    """Whether `path` is a folder, or cannot be looked at: `walk` says why."""
    try:
        return stat.S_ISDIR(os.stat(path or os.curdir).st_mode)
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return False
    except OSError:
        return True


def _behind(reached: set[int], name: str, parts: Sequence[str]) -> set[int]:
    """How many of the pattern's `parts` may match a path that ends in `name`, where `reached` may match the rest."""
    found = set()
    for at in reached - {len(parts)}:
        shown = parts[at] == name or (not is_system_name(name) and (name[0] != "." or parts[at][0] == "."))
        if parts[at] == "**" and shown:
            found.add(at)
        elif shown and fnmatch.fnmatchcase(name, parts[at]):
            found.add(at + 1)
    return _with_none(found, parts)


def _with_none(reached: set[int], parts: Sequence[str]) -> set[int]:
    """`reached` and what lies behind `**`, which may match no name at all."""
    for at, part in enumerate(parts):
        if part == "**" and at in reached:
            reached.add(at + 1)
    return reached
