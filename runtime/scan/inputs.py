"""From command-line arguments to inputs: files, folders, globs, lists and stdin, lazily and in a fixed order.

Order: arguments as given; inside a folder, entries by name, files and folders mixed. One directory's names are held in
memory at a time, never the whole tree. Paths are Python strings in which undecodable bytes are surrogates (PEP 383), so
that any name that the file system allows can be opened again.
"""

from __future__ import annotations

import fnmatch
import os
import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import BinaryIO

from ..decode import IMAGE_SUFFIXES
from ..display_text import display_name
from ..errors import UsageError

STDIN = "-"
LIST_PREFIX = "@"
READ_BYTES = 1 << 16
MAX_NAME_BYTES = 1 << 20
"""A longer line of a list is no path: most likely an image was given instead of a list."""

_GLOB = re.compile(r"[*?\[]")


@dataclass(frozen=True)
class InputPath:
    """One input.

    Attributes:
        path: the file.
        error: why it cannot be listed; set for an unreadable folder, which gets a record of its own.
    """

    path: str
    error: str | None = None


@dataclass
class Inputs:
    """The inputs that `arguments` name. Iterating lists them anew.

    Args:
        arguments: files, folders, globs, `@list`, or `-` (names on stdin). A file called `-` or `@x` is `./-`, `./@x`.
        stdin: where `-` reads from, in binary.
        null: names in lists and on stdin end with a zero byte instead of a newline (`find -print0`).
        exclude: folders that are not entered (the run's own output).

    Attributes:
        empty: arguments that named no input so far, for a warning after the run.
    """

    arguments: Sequence[str]
    stdin: BinaryIO | None = None
    null: bool = False
    exclude: Collection[str] = ()
    empty: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        if not self.arguments:
            raise UsageError("no input: name files, folders, globs, @list.txt, or - for names on stdin")
        if list(self.arguments).count(STDIN) > 1:
            raise UsageError("- (stdin) can be given only once")
        for argument in self.arguments:
            if argument == "":
                raise UsageError("an input is empty: name a file or folder")
            if _is_list(argument) and not os.path.isfile(argument[1:]):
                raise UsageError(f"{display_name(argument[1:])}: no such list of inputs")

    @property
    def countable(self) -> bool:
        """Whether the inputs can be enumerated twice, so that a total can be known."""
        return STDIN not in self.arguments

    def count(self) -> int:
        """How many inputs there are; walks everything once."""
        return sum(1 for _ in Inputs(self.arguments, None, self.null, self.exclude))

    def __iter__(self) -> Iterator[InputPath]:
        excluded = {identity for folder in self.exclude if (identity := _identity(folder)) is not None}
        for argument in self.arguments:
            empty = True
            for item in self._expand(argument, excluded):
                empty = False
                yield item
            if empty:
                self.empty.append(argument)

    def _expand(self, argument: str, excluded: set[tuple[int, int]]) -> Iterator[InputPath]:
        if argument == STDIN:
            if self.stdin is None:
                raise UsageError("- reads names from stdin, and there is none here")
            names = read_names(self.stdin, "stdin", self.null)
        elif _is_list(argument):
            names = _list_names(argument[1:], self.null)
        else:
            names = iter((argument,))
        for name in names:
            if os.path.isdir(name):
                yield from walk(name, excluded)
            elif _GLOB.search(name) and not os.path.lexists(name):
                yield from _glob_inputs(name, excluded)
            else:
                yield InputPath(name)


def _is_list(argument: str) -> bool:
    return argument.startswith(LIST_PREFIX) and len(argument) > 1


def _identity(path: str) -> tuple[int, int] | None:
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return None
    return status.st_dev, status.st_ino


def _list_names(path: str, null: bool) -> Iterator[str]:
    try:
        with open(path, "rb") as file:
            yield from read_names(file, path, null)
    except OSError as error:
        raise UsageError(f"{display_name(path)}: the list cannot be read ({error.strerror})") from None


def read_names(file: BinaryIO, where: str, null: bool) -> Iterator[str]:
    """Names from a binary stream; empty ones and a UTF-8 byte-order mark are skipped.

    Args:
        file: the stream.
        where: its name in messages.
        null: names end with a zero byte instead of a newline.

    Raises:
        UsageError: a name longer than `MAX_NAME_BYTES`, or one that holds a zero byte.
    """
    end = b"\0" if null else b"\n"
    read = getattr(file, "read1", file.read)  # from a pipe: what is there, without waiting for a full buffer
    rest, first = b"", True
    while chunk := read(READ_BYTES):
        *names, rest = (rest + chunk).split(end)
        if first and (names or rest):
            first = False
            if names:
                names[0] = names[0].removeprefix(b"\xef\xbb\xbf")
            else:
                rest = rest.removeprefix(b"\xef\xbb\xbf")
        yield from (name for raw in names if (name := _name(raw, where, null)))
        if len(rest) > MAX_NAME_BYTES:
            raise UsageError(f"{display_name(where)}: holds no list of names (give an image without the @)")
    if last := _name(rest, where, null):
        yield last


def _name(raw: bytes, where: str, null: bool) -> str:
    if not null:
        raw = raw.removesuffix(b"\r")
    if b"\0" in raw:
        raise UsageError(f"{display_name(where)}: holds zero bytes: give --null for zero-terminated names")
    return os.fsdecode(raw)


def walk(folder: str, excluded: Collection[tuple[int, int]] = ()) -> Iterator[InputPath]:
    """Image files below `folder`, by suffix, in name order.

    Symbolic links are followed, and each real folder is entered once. A broken link counts as an input, and a folder
    that cannot be read gives one input with an error, so that no image is left out silently.

    Args:
        folder: where to start.
        excluded: (device, inode) of folders that are not entered.
    """
    seen = set(excluded)
    identity = _identity(folder)
    if identity is not None:
        if identity in seen:
            return
        seen.add(identity)
    pending = [_entries(folder)]
    while pending:
        entry = next(pending[-1], None)
        if entry is None:
            pending.pop()
            continue
        if isinstance(entry, InputPath):
            yield entry
            continue
        if entry.endswith(os.sep):
            path = entry.rstrip(os.sep)
            identity = _identity(path)
            if identity is not None and identity not in seen:
                seen.add(identity)
                pending.append(_entries(path))
        elif os.path.splitext(entry)[1].lower() in IMAGE_SUFFIXES:
            yield InputPath(entry)


def _entries(folder: str) -> Iterator[InputPath | str]:
    """Paths in `folder`, sorted by name; folders end with the separator."""
    try:
        with os.scandir(folder) as entries:
            names = sorted((entry.name, _is_folder(entry)) for entry in entries)
    except OSError as error:
        yield InputPath(folder, f"the folder cannot be read ({error.strerror})")
        return
    for name, is_folder in names:
        path = os.path.join(folder, name)
        yield path + os.sep if is_folder else path


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False


def _glob_inputs(pattern: str, excluded: Collection[tuple[int, int]]) -> Iterator[InputPath]:
    """The files that a shell would expand `pattern` to; no match is one input with an error.

    Folders that match are walked, except for patterns with `**`, which name the files themselves.
    """
    root, parts = _split(pattern)
    recursive = "**" in parts
    matched = False
    for path in _match(root, parts, excluded):
        if os.path.isdir(path):
            if not recursive:
                matched = True
                yield from walk(path, excluded)
        else:
            matched = True
            yield InputPath(path)
    if not matched:
        yield InputPath(pattern, "no such file, and no file matches it as a pattern")


def _split(pattern: str) -> tuple[str, list[str]]:
    drive, rest = os.path.splitdrive(pattern)
    parts = [part for part in rest.split(os.sep) if part]
    return drive + (os.sep if rest.startswith(os.sep) else ""), parts


def _match(folder: str, parts: list[str], excluded: Collection[tuple[int, int]]) -> Iterator[str]:
    if excluded and _identity(folder or os.curdir) in excluded:
        return
    if not parts:
        if folder:
            yield folder
        return
    head, *tail = parts
    if head == "**":
        yield from _match(folder, tail, excluded)
        for name, is_folder in _listing(folder):
            if is_folder and not name.startswith(".") and not os.path.islink(os.path.join(folder, name)):
                yield from _match(os.path.join(folder, name), parts, excluded)
            elif not tail and not is_folder and not name.startswith("."):
                yield os.path.join(folder, name)
    elif not _GLOB.search(head):
        path = os.path.join(folder, head)
        if os.path.lexists(path):
            yield from _match(path, tail, excluded)
    else:
        for name, is_folder in _listing(folder):
            hidden = name.startswith(".") and not head.startswith(".")
            if not hidden and fnmatch.fnmatchcase(name, head) and (is_folder or not tail):
                yield from _match(os.path.join(folder, name), tail, excluded)


def _listing(folder: str) -> list[tuple[str, bool]]:
    try:
        with os.scandir(folder or os.curdir) as entries:
            return sorted((entry.name, _is_folder(entry)) for entry in entries)
    except OSError:
        return []
