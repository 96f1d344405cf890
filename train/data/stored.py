"""Where images lie: a file, a row of a table, a member of an archive, here or on the Hugging Face hub, all by a name.

    photos/a.jpg                                              a file
    set/train-00000-of-00002.parquet#1234                     a row of a Parquet or Arrow file, from 0
    set/train-00000-of-00002.parquet#1234:sdxl_image          the same, of the column sdxl_image
    set/train-0000.tar::000017.png                            a member of a tar or zip archive
    hf://datasets/ORG/NAME@COMMIT/data/train-00000-of-00002.parquet#1234

Names go into caches, lists and records, so they need no options and no other file to be read again.
"""

from __future__ import annotations

import os
import re
import zipfile
from collections.abc import Sequence
from typing import NamedTuple

from ...runtime.core.errors import CinemaeError, ImageError
from ...runtime.images.source import open_image_file
from . import hub
from .tables import TABLE_SUFFIXES, table_rows
from .tars import tar_index

_ROW = re.compile(
    rf"(?P<file>.+?(?:{'|'.join(map(re.escape, TABLE_SUFFIXES))}))(?:#|::)(?P<row>\d+)(?::(?P<column>.+))?"
)
_MEMBER = re.compile(r"(?P<file>.+?\.(?:tar|zip))::(?P<member>.+)", re.DOTALL)


class Place(NamedTuple):
    """The parts of a name.

    Attributes:
        file: the file, local or on the hub.
        row: of a table; -1 for others.
        column: of a table; "" where the table's only image column is meant.
        member: of an archive; "" for others.
    """

    file: str
    row: int = -1
    column: str = ""
    member: str = ""


def place(name: str) -> Place:
    """Take a name apart."""
    if "#" not in name and "::" not in name:
        return Place(name)
    if (row := _ROW.fullmatch(name)) is not None:
        return Place(row["file"], int(row["row"]), row["column"] or "")
    if (member := _MEMBER.fullmatch(name)) is not None:
        return Place(member["file"], member=member["member"])
    return Place(name)


def absolute(name: str) -> str:
    """The name with an absolute path; one on the hub as it is."""
    if hub.is_hub(name):
        return name
    file = place(name).file
    return os.path.abspath(file) + name[len(file) :]


def in_reading_order(names: Sequence[str]) -> list[int]:
    """Positions of names in an order that reads every table and archive once, from front to back.

    Files keep their order, and come where they are; rows of a table follow each other.
    """
    first: dict[str, int] = {}
    keys = []
    for position, name in enumerate(names):
        where = place(name)
        inside = where.row >= 0 or bool(where.member)
        start = first.setdefault(where.file, position) if inside else position
        keys.append((start, where.row, position))
    return sorted(range(len(names)), key=keys.__getitem__)


def read_stored(name: str) -> bytes:
    """The bytes of an image.

    Raises:
        ImageError: the file or row is missing or unreadable, or holds no bytes.
        CinemaeError: the hub cannot be reached, or a package is missing.
    """
    where = place(name)
    file = hub.local(where.file) if hub.is_hub(where.file) else where.file
    if where.row < 0 and not where.member:
        with open_image_file(file, name) as stream:
            return stream.read()
    with open_image_file(file, name):  # says what is wrong with the file, before a library does in its own words
        pass
    try:
        if where.row >= 0:
            return table_rows(file, where.column)[where.row]
        if file.lower().endswith(".zip"):
            with zipfile.ZipFile(file) as archive:
                return archive.read(where.member)
        return tar_index(file).read(where.member)
    except CinemaeError as error:
        raise (ImageError(f"{name}: {error}", error.kind) if isinstance(error, ImageError) else error) from None
    except Exception as error:  # Arrow, zipfile and tarfile raise many kinds
        raise ImageError(f"{name}: cannot be read ({type(error).__name__}: {error})") from None
