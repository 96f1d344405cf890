"""The images of a work unit, read lazily: files, members of an archive, or rows of a Parquet file."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ..core.errors import ImageError
from ..images.source import AnySource, NamedSource
from ..scan.archives import archive_members
from ..scoring.detector import Detector
from ..scoring.pipeline import Prepare
from ..scoring.prepare import Prepared
from .storage import is_url, open_binary
from .work_units import Unit

MAX_BYTES = 1 << 30
"""Largest remote file in bytes, because it is held in memory; a larger one is an error record."""
READ_ROWS = 32
"""Parquet rows that are read at a time."""


def sources(unit: Unit) -> Iterator[NamedSource]:
    """Yield the images of a work unit in order, one for each record.

    An image in an archive is named `FILE::MEMBER`, one in a Parquet file `FILE::ROW`.
    """
    if unit.kind in ("tar", "zip"):
        for item in archive_members(unit.items[0][0], open_file=open_binary):
            yield NamedSource(item.path, item.open or b"", item.error)
    elif unit.kind == "parquet":
        yield from _rows(unit)
    else:
        for name, error in unit.items:
            yield NamedSource(name, name, error)


def preparer(detector: Detector) -> Prepare:
    """`detector.prepare`, extended to read URLs; it is called in the decoding threads."""

    def prepare(source: AnySource) -> Prepared:
        if isinstance(source, NamedSource) and isinstance(source.source, str) and source.error is None:
            name = source.source
            if is_url(name):
                try:
                    with open_binary(name) as file:
                        data = file.read(MAX_BYTES + 1)
                except Exception as error:  # stores raise exceptions of their own
                    return detector.prepare(NamedSource(name, b"", _why(error)))
                return detector.prepare(_bounded(name, data))
        return detector.prepare(source)

    return prepare


def _why(error: Exception) -> str:
    if isinstance(error, ImageError):
        return str(error)
    if isinstance(error, FileNotFoundError):
        return "no such file"
    return f"cannot be read ({type(error).__name__}: {error})"


def _bounded(name: str, data: bytes) -> NamedSource:
    too_large = f"more than {MAX_BYTES:,} bytes" if len(data) > MAX_BYTES else None
    return NamedSource(name, data, too_large)


def _rows(unit: Unit) -> Iterator[NamedSource]:
    """Yield the images of one row group; if a page cannot be read, one error record stands for the remaining rows."""
    import pyarrow.parquet as pq

    name = unit.items[0][0]
    row = unit.first
    try:
        with open_binary(name) as file:
            batches = pq.ParquetFile(file).iter_batches(READ_ROWS, row_groups=[unit.group], columns=[unit.column])
            for batch in batches:
                for value in batch.column(0).to_pylist():
                    yield _cell(f"{name}::{row}", value)
                    row += 1
    except Exception as error:  # stores and Arrow raise many kinds
        what = f"the rows from here on cannot be read ({type(error).__name__}: {error})"
        yield NamedSource(f"{name}::{row}", b"", what)


def _cell(name: str, value: Any) -> NamedSource:
    data = value.get("bytes") if isinstance(value, dict) else value
    return NamedSource(name, data or b"", None if data else "the cell holds no bytes")
