"""The images of a work unit, read lazily: files, URLs, members of an archive, or rows of a Parquet file."""

from __future__ import annotations

import io
from collections.abc import Iterator
from functools import partial
from typing import Any, BinaryIO

from ..core.errors import ImageError
from ..images.source import MAX_FILE_BYTES, NamedSource
from ..scan.archives import archive_members
from .storage import is_url, open_binary
from .work_units import Unit

READ_ROWS = 32
"""Parquet rows that are read at a time."""


def sources(unit: Unit) -> Iterator[NamedSource]:
    """Yield the images of a work unit in order, one for each record.

    An image in an archive is named `FILE::MEMBER`, an image in a Parquet file `FILE::ROW`.
    """
    if unit.kind in ("tar", "zip"):
        yield from archive_members(unit.items[0][0], open_file=open_binary)
    elif unit.kind == "parquet":
        yield from _rows(unit)
    else:
        for name, failure in unit.items:
            error = failure and ImageError(failure[1], failure[0])
            yield NamedSource(name, partial(_fetched, name) if is_url(name) else None, error)


def _fetched(url: str) -> BinaryIO:
    """A remote file, which is held in memory; called in the decoding threads.

    Raises:
        ImageError: there is no such file, or it has too many bytes. Stores raise exceptions of their own as well.
    """
    try:
        with open_binary(url) as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except FileNotFoundError:
        raise ImageError("no such file", "missing") from None
    if len(data) > MAX_FILE_BYTES:
        raise ImageError(f"more than {MAX_FILE_BYTES:,} bytes", "too_large")
    return io.BytesIO(data)


def _rows(unit: Unit) -> Iterator[NamedSource]:
    """Yield the images of one row group; if a page cannot be read, one error record stands for the remaining rows."""
    import pyarrow.parquet as pq

    name, row = unit.items[0][0], unit.first
    try:
        with open_binary(name) as file:
            batches = pq.ParquetFile(file).iter_batches(READ_ROWS, row_groups=[unit.group], columns=[unit.column])
            for batch in batches:
                for value in batch.column(0).to_pylist():
                    yield _cell(f"{name}::{row}", value)
                    row += 1
    except Exception as error:  # stores and Arrow raise many kinds
        text = f"the rows from here on cannot be read ({type(error).__name__}: {error})"
        yield NamedSource(f"{name}::{row}", b"", ImageError(text))


def _cell(name: str, value: Any) -> NamedSource:
    data = value.get("bytes") if isinstance(value, dict) else value
    return NamedSource(name, data or b"", None if data else ImageError("the cell holds no bytes", "missing"))
