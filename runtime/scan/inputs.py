"""From command-line arguments to inputs: files, folders, globs, lists and stdin, lazily and in a fixed order.

Order: arguments as given; inside a folder, entries by name, files and folders mixed. One directory's names are held in
memory at a time, never the whole tree. Paths are Python strings in which undecodable bytes are surrogates (PEP 383), so
that any name that the file system allows can be opened again.
"""

from __future__ import annotations

import codecs
import io
import os
import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial
from typing import BinaryIO

from ..core.errors import ImageError, UsageError
from ..core.text import display_name
from ..images.formats import SIGNATURES
from ..images.source import MAX_FILE_BYTES, NamedSource
from ..images.walk import Skipped, identities, walk
from .archives import archive_members
from .globs import glob_inputs
from .kinds import archive_kind, is_glob, is_web_url, local_path
from .urls import NOT_ALLOWED, fetch

STDIN = "-"
LIST_PREFIX = "@"
READ_BYTES = 1 << 16
MAX_NAME_BYTES = 1 << 20
"""A longer line of a list is no path: most likely an image was given instead of a list."""
BYTE_ORDER_MARKS = {
    codecs.BOM_UTF8: "utf-8", codecs.BOM_UTF32_LE: "utf-32-le", codecs.BOM_UTF32_BE: "utf-32-be",
    codecs.BOM_UTF16_LE: "utf-16-le", codecs.BOM_UTF16_BE: "utf-16-be",
}
"""Mark -> encoding; that of UTF-32 begins like that of UTF-16."""
_WIDE = re.compile(rb"\0?(?:[^\0]\0)*?[./\\\n]\0[^\0]\0[^\0]\0")
"""Under --null, UTF-16 would be a list of names of one letter, and `.` among them the whole working folder."""


@dataclass
class Inputs:
    """The inputs that `arguments` name. Iterating lists them anew.

    Args:
        arguments: files, folders, globs, `@list`, or `-` (names on stdin). A file called `-` or `@x` is `./-`, `./@x`.
        stdin: where `-` reads from, in binary.
        null: names in lists and on stdin end with a zero byte instead of a newline (`find -print0`).
        exclude: folders that are not entered (the run's own output).
        allow_url: http and https URLs are fetched; without it they are failed inputs.
        stdin_image: `-` is an image on stdin instead of names.
        archives: a zip or tar archive that is named stands for the images in it.

    Attributes:
        empty: arguments that named no input so far, for a warning after the run.
        skipped: files of walked folders that were left out so far, because they are no images.
    """

    arguments: Sequence[str]
    stdin: BinaryIO | None = None
    null: bool = False
    exclude: Collection[str] = ()
    allow_url: bool = False
    stdin_image: bool = False
    archives: bool = True
    empty: list[str] = field(default_factory=list)
    skipped: Skipped = field(default_factory=Skipped)

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
        """Whether the inputs can be enumerated twice at little cost, so that a total can be known."""
        return STDIN not in self.arguments and not any(archive_kind(name) == "tar" for name in self.arguments)

    def count(self) -> int:
        """How many inputs there are; walks everything once."""
        return sum(1 for _ in Inputs(self.arguments, None, self.null, self.exclude, self.allow_url))

    def __iter__(self) -> Iterator[NamedSource]:
        for argument in self.arguments:
            empty = True
            for item in self._expand(argument):
                empty = False
                yield item
            if empty:
                self.empty.append(argument)

    def _expand(self, argument: str) -> Iterator[NamedSource]:
        if argument == STDIN:
            if self.stdin is None:
                raise UsageError("- reads from stdin, and there is none here")
            if self.stdin_image:
                yield NamedSource(STDIN, partial(_image, self.stdin))
                return
            names = read_names(self.stdin, "stdin", self.null)
        elif _is_list(argument):
            names = _list_names(argument[1:], self.null)
        else:
            names = iter((argument,))
        for name in map(local_path, names):
            if is_web_url(name) and not os.path.lexists(name):
                error = None if self.allow_url else ImageError(NOT_ALLOWED, "unreadable")
                yield NamedSource(name, partial(fetch, name), error)
            elif os.path.isdir(name):
                yield from walk(name, identities(self.exclude), self.skipped)
            elif is_glob(name) and not os.path.lexists(name):
                for item in glob_inputs(name, identities(self.exclude), self.skipped):
                    yield from self._members(item)
            else:
                yield from self._members(NamedSource(name))

    def _members(self, item: NamedSource) -> Iterator[NamedSource]:
        """The images in an archive; any other input stands for itself."""
        archive = self.archives and item.error is None and archive_kind(item.name) is not None
        if archive and os.path.isfile(item.name):
            yield from archive_members(item.name, self.skipped)
        else:
            yield item


def _image(stdin: BinaryIO) -> BinaryIO:
    return io.BytesIO(_content(stdin))


@lru_cache(maxsize=1)  # --resume reads it twice
def _content(stdin: BinaryIO) -> bytes:
    data = stdin.read(MAX_FILE_BYTES + 1)
    if len(data) > MAX_FILE_BYTES:
        raise ImageError(f"more than {MAX_FILE_BYTES:,} bytes", "too_large")
    return data


def input_name(argument: str) -> str:
    """The file or folder that an argument names; for `@list`, the list."""
    return argument[1:] if _is_list(argument) else local_path(argument)


def _is_list(argument: str) -> bool:
    return argument.startswith(LIST_PREFIX) and len(argument) > 1


def _list_names(path: str, null: bool) -> Iterator[str]:
    try:
        with open(path, "rb") as file:
            yield from read_names(file, path, null)
    except OSError as error:
        raise UsageError(f"{display_name(path)}: the list cannot be read ({error.strerror})") from None


def read_names(file: BinaryIO, where: str, null: bool) -> Iterator[str]:
    """Names from a binary stream; empty ones are skipped.

    A byte-order mark says how a list is encoded: UTF-8, or UTF-16 and UTF-32, as Windows PowerShell writes lists.
    Quotes around a name, as the Explorer copies paths, are taken off where no file is called so.

    Args:
        file: the stream.
        where: its name in messages.
        null: names end with a zero byte instead of a newline.

    Raises:
        UsageError: a name longer than `MAX_NAME_BYTES`, one that holds a zero byte, an image, or under `null` a list
            that is UTF-16 or has a byte-order mark.
    """
    read = getattr(file, "read1", file.read)  # from a pipe: what is there, without waiting for a full buffer
    chunk, shown_as = b"", display_name(where)
    while any(len(chunk) < len(one) and one.startswith(chunk) for one in BYTE_ORDER_MARKS):
        if not (further := read(READ_BYTES)):
            break
        chunk += further
    if SIGNATURES.match(chunk) and not chunk.isascii():
        hint = "give --stdin-image to score it" if where == "stdin" else "give the image without the @"
        raise UsageError(f"{shown_as}: holds an image, not names: {hint}")
    mark = next((one for one in BYTE_ORDER_MARKS if chunk.startswith(one)), b"")
    if (mark and null) or (not mark and _WIDE.match(chunk)):
        what = "begins with a byte-order mark" if mark else "seems to be UTF-16 without its byte-order mark"
        raise UsageError(f"{shown_as}: {what}: save it as UTF-8, a name on each line, and give it without --null")
    decoder = codecs.getincrementaldecoder(BYTE_ORDER_MARKS.get(mark, ""))("replace") if len(mark) in (2, 4) else None
    chunk, rest, end = chunk[len(mark) :], b"", b"\0" if null else b"\n"
    more = True
    while more:
        *names, rest = (rest + (decoder.decode(chunk).encode() if decoder else chunk)).split(end)
        yield from (name for raw in names if (name := _name(raw, shown_as, null)))
        if len(rest) > MAX_NAME_BYTES:
            raise UsageError(f"{shown_as}: holds no list of names (give an image without the @)")
        more = bool(chunk := read(READ_BYTES))
    if last := _name(rest, shown_as, null):
        yield last


def _name(raw: bytes, where: str, null: bool) -> str:
    if null:
        return os.fsdecode(raw)
    raw = raw.removesuffix(b"\r")
    if b"\0" in raw:
        raise UsageError(f"{where}: holds zero bytes: give --null for zero-terminated names")
    quoted = len(raw) > 2 and raw[:1] == raw[-1:] == b'"' and not os.path.lexists(raw)
    return os.fsdecode(raw[1:-1] if quoted else raw)
