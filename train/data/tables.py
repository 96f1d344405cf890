"""Rows of Parquet and Arrow files, a few at a time: memory holds a page or a record batch, never a file."""

from __future__ import annotations

import json
import threading
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import accumulate
from typing import Any

from ...runtime.core.environment import require
from ...runtime.core.errors import ImageError, UsageError

TABLE_SUFFIXES = (".parquet", ".pq", ".arrow")
ROWS = 16
"""Rows decoded at once. Twice as many are held, so that decoding threads may ask a little out of order."""
BUFFER = 1 << 20
"""Bytes read from a Parquet file at once; without it pyarrow reads the column of a whole row group."""
OPEN = 4
"""Tables that stay open, each with a page and two batches in memory."""
USUAL_IMAGES = ("image", "images", "img", "image_data", "image_bytes", "bytes", "jpg", "jpeg", "png", "webp", "content")


class Table:
    """A Parquet or Arrow file, in chunks: row groups or record batches.

    Args:
        file: path, or for Parquet a seekable binary file.

    Attributes:
        schema: a pyarrow.Schema.
        counts: rows of each chunk.

    Raises:
        MissingDependencyError: pyarrow is missing.
        UsageError: the file is none.
    """

    def __init__(self, file: Any, name: str) -> None:
        require(name, "data", "pyarrow")
        import pyarrow as pa
        import pyarrow.parquet as pq

        self._parquet: Any = None
        self._file, self._at = file, [0]
        try:
            if name.lower().endswith(".arrow"):
                self.schema, self._at, self.counts = _arrow_index(file)
            else:
                self._parquet = pq.ParquetFile(file, buffer_size=BUFFER)
                groups = self._parquet.metadata
                self.schema = self._parquet.schema_arrow
                self.counts = [groups.row_group(i).num_rows for i in range(groups.num_row_groups)]
        except (pa.ArrowException, OSError, ValueError) as error:
            raise UsageError(f"{name}: is damaged or no such table ({error}); download or write it again") from None

    def batches(self, chunk: int, columns: Sequence[str], rows: int = ROWS) -> Iterator[Any]:
        """The rows of a chunk as pyarrow.RecordBatches of at most `rows`."""
        if self._parquet is not None:
            yield from self._parquet.iter_batches(rows, row_groups=[chunk], columns=list(columns), use_threads=False)
            return
        import pyarrow as pa

        with pa.memory_map(str(self._file)) as mapped:
            mapped.seek(self._at[chunk])
            batch = pa.ipc.read_record_batch(pa.ipc.read_message(mapped), self.schema).select(list(columns))
            for start in range(0, batch.num_rows, rows):
                yield batch.slice(start, rows)

    def values(self, columns: Sequence[str]) -> Iterator[tuple[Any, ...]]:
        """The values of small columns, row by row; integers of a ClassLabel as their names."""
        names = class_names(self.schema)
        for chunk in range(len(self.counts)):
            for batch in self.batches(chunk, columns, 4096):
                yield from zip(*(_named(column, names.get(name)) for name, column in
                                 zip(columns, map(batch.column, columns), strict=True)), strict=True)

    def images(self) -> list[str]:
        """Columns that hold bytes, or a struct with a field `bytes` as Hugging Face stores images."""
        return [field.name for field in self.schema if _is_bytes(field.type)]

    def image_column(self, name: str) -> str | None:
        """The column of images: `name` where one is given, else the only or the usual one; None where several may be.

        Raises:
            UsageError: there is no such column.
        """
        there = self.images()
        if name and name not in there:
            raise UsageError(f"no column {name!r} of bytes; there are: {', '.join(there) or 'none'}")
        usual = [column for one in USUAL_IMAGES for column in there if column.lower() == one]
        return name or (there[0] if len(there) == 1 else next(iter(usual), None))


def _arrow_index(path: str) -> tuple[Any, list[int], list[int]]:
    """Schema, and where each record batch begins and how many rows it has. No image is touched: the file is mapped."""
    import pyarrow as pa

    at: list[int] = []
    counts: list[int] = []
    with pa.memory_map(str(path)) as mapped:
        start = 8 if mapped.read(6) == b"ARROW1" else 0  # a file of Arrow is a stream behind 8 bytes
        mapped.seek(start)
        reader = pa.ipc.open_stream(mapped)
        while True:
            here = mapped.tell()
            try:
                counts.append(reader.read_next_batch().num_rows)
            except StopIteration:
                return reader.schema, at, counts
            at.append(here)


def _is_bytes(kind: Any) -> bool:
    import pyarrow as pa

    if pa.types.is_struct(kind):
        return kind.get_field_index("bytes") >= 0 and _is_bytes(kind.field("bytes").type)
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind)


def class_names(schema: Any) -> dict[str, list[str]]:
    """Names of the values of ClassLabel columns, which `datasets` writes into the schema's metadata."""
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
        found = {name: feature for name, feature in features.items() if isinstance(feature, dict)}
        return {name: list(one["names"]) for name, one in found.items() if one.get("_type") == "ClassLabel"}
    except (KeyError, TypeError, ValueError, AttributeError):
        return {}


def _named(column: Any, names: list[str] | None) -> list[Any]:
    values = column.to_pylist()
    if names is None:
        return values
    return [names[value] if isinstance(value, int) and 0 <= value < len(names) else value for value in values]


class TableRows:
    """The images of one column by their row, read from front to back; another order works and is slow.

    Args:
        path: of the table.
        column: that holds the images; "" for the only or the usual one.

    Raises:
        UsageError: no table, or no such column.
    """

    def __init__(self, path: str, column: str) -> None:
        self.table = Table(path, path)
        found = self.table.image_column(column)
        if found is None:
            raise UsageError(f"which column holds the images? There are: {', '.join(self.table.images())}")
        self.column = found
        self._ends = list(accumulate(self.table.counts))
        self._lock = threading.Lock()
        self._held: list[tuple[int, Any]] = []
        self._next = self._stop = 0
        self._batches: Iterator[Any] = iter(())

    def __getitem__(self, row: int) -> bytes:
        """Bytes of the image.

        Raises:
            ImageError: there is no such row, or it holds no bytes.
        """
        if not 0 <= row < (self._ends[-1] if self._ends else 0):
            raise ImageError(f"no row {row:,}; the table has {self._ends[-1] if self._ends else 0:,}", "missing")
        with self._lock:
            for first, cells in self._held:
                if first <= row < first + len(cells):
                    break
            else:
                first, cells = self._read_to(row)
            value = cells[row - first].as_py()
        if not value:
            raise ImageError("the row holds no bytes", "missing")
        return bytes(value)

    def _read_to(self, row: int) -> tuple[int, Any]:
        """The first row and the cells of the batch that holds `row`; it and the batch before it are kept."""
        if not self._next <= row < self._stop:
            chunk = bisect_right(self._ends, row)
            self._next, self._stop = self._ends[chunk] - self.table.counts[chunk], self._ends[chunk]
            self._batches, self._held = self.table.batches(chunk, [self.column]), []
        while True:
            cells = next(self._batches).column(0)
            first, self._next = self._next, self._next + len(cells)
            cells = cells.field("bytes") if cells.type.num_fields else cells
            self._held = [*self._held[-1:], (first, cells)]
            if row < self._next:
                return first, cells


@lru_cache(maxsize=OPEN)
def table_rows(path: str, column: str) -> TableRows:
    """The rows of a table, which stays open."""
    return TableRows(path, column)
