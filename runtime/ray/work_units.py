"""Work units: the inputs of a distributed run, divided so that each unit becomes one shard; and the images of a unit.

Resumed runs reuse the units.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, BinaryIO, Literal, TypeAlias

from ..core.errors import ErrorKind, ImageError, UsageError
from ..core.text import display_name
from ..images.source import MAX_FILE_BYTES, NamedSource
from ..scan.archives import archive_members
from ..scan.inputs import Inputs
from ..scan.kinds import archive_kind, is_web_url
from ..scan.urls import NOT_ALLOWED
from .options import RayOptions
from .storage import is_url, list_url, open_binary

Kind = Literal["files", "tar", "zip", "refused", "parquet"]
Failed: TypeAlias = tuple[ErrorKind, str]
"""Kind and text of an input's error."""
SMALLEST, LARGEST = 16, 512
"""Files in a unit: enough to fill batches, few enough that little is repeated when an actor dies."""
UNITS_PER_ACTOR = 4
READ_ROWS = 32
"""Parquet rows that are read at a time."""
_IMAGE_COLUMNS = ("image", "images", "img", "bytes", "image_bytes", "jpg", "jpeg", "png", "webp", "content", "data")


@dataclass(frozen=True)
class Unit:
    """A work unit; its index is its position in the run, and the number of its shard."""

    index: int
    kind: Kind
    items: tuple[tuple[str, Failed | None], ...]
    """For `files` name and error of each file; otherwise one item, the name of the archive or Parquet file."""
    group: int = 0
    """Of a Parquet file, the row group to read."""
    first: int = 0
    """Number of the group's first row in the Parquet file."""
    column: str = ""
    """Of the Parquet file, which holds the images."""

    def to_json(self) -> str:
        """One line of ASCII JSON; names that are not valid Unicode are kept by escapes."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str | bytes) -> Unit:
        """Read what `to_json` wrote."""
        values = json.loads(text)
        values["items"] = tuple((name, failed and tuple(failed)) for name, failed in values["items"])
        return cls(**values)


def list_units(options: RayOptions, actors: int, stdin: BinaryIO | None = None) -> list[Unit]:
    """List the inputs, in the order of a local run, and divide them into work units.

    Inputs are those of a local run, and fsspec URLs of files, patterns and prefixes. A zip, tar or Parquet file stands
    for the images in it. The number of actors determines the size of the units.

    Raises:
        UsageError: there is no input, a store does not allow listing, or a Parquet file has no such column.
    """
    inputs = list(_inputs(options, stdin))
    size = min(LARGEST, max(SMALLEST, math.ceil(len(inputs) / (UNITS_PER_ACTOR * actors))))
    units: list[Unit] = []
    files: list[tuple[str, Failed | None]] = []

    def finish_unit() -> None:
        if files:
            units.append(Unit(len(units), "files", tuple(files)))
            files.clear()

    for kind, name, error in inputs:
        if kind == "files":
            files.append((name, error))
            if len(files) == size:
                finish_unit()
            continue
        finish_unit()
        if kind == "parquet":
            units.extend(_row_groups(name, options.column, len(units)))
        else:
            units.append(Unit(len(units), kind, ((name, None),)))
    finish_unit()
    return units


def _inputs(options: RayOptions, stdin: BinaryIO | None) -> Iterator[tuple[Kind, str, Failed | None]]:
    """Kind, name and error of each input."""
    for argument in options.inputs:
        if is_url(argument):
            yield from _below_url(argument, options.allow_url)
            continue
        for item in Inputs((argument,), stdin, null=options.null, allow_url=True, archives=False):
            if item.error is not None:
                yield "files", item.name, (item.error.kind, str(item.error))
            elif is_url(item.name):
                yield from _below_url(item.name, options.allow_url)
            else:
                yield _kind(item.name), item.name, None


def _below_url(url: str, allow_url: bool) -> Iterator[tuple[Kind, str, Failed | None]]:
    if is_web_url(url) and not allow_url:
        yield "files", url, ("unreadable", NOT_ALLOWED)
    else:
        yield from ((_kind(name), name, None) for name in list_url(url))


def _kind(name: str) -> Kind:
    return "parquet" if name.lower().endswith((".parquet", ".pq")) else archive_kind(name) or "files"


def _row_groups(name: str, column: str | None, index: int) -> list[Unit]:
    """One work unit for each row group; a file that cannot be read becomes one unit with an error."""
    import pyarrow.parquet as pq

    try:
        with open_binary(name) as file:
            parquet = pq.ParquetFile(file)
            schema = parquet.schema_arrow
            counts = [parquet.metadata.row_group(i).num_rows for i in range(parquet.metadata.num_row_groups)]
    except Exception as error:  # stores and Arrow raise many kinds; an unreadable file is one failed input
        text = f"not a readable Parquet file ({type(error).__name__}: {error})"
        return [Unit(index, "files", ((name, ("unreadable", text)),))]
    chosen = find_column(schema, column, name)
    starts = [sum(counts[:i]) for i in range(len(counts))]
    return [
        Unit(index + i, "parquet", ((name, None),), group=i, first=start, column=chosen)
        for i, start in enumerate(starts)
    ]


def find_column(schema: Any, column: str | None, name: str) -> str:
    """The column of an Arrow schema that holds the images.

    Args:
        schema: a pyarrow.Schema.
        column: the name that the user gave; None chooses a binary column with a usual name, or the only binary column.
            A struct with a binary field `bytes`, as Hugging Face stores images, counts as binary.
        name: the file, for error messages.

    Raises:
        UsageError: no column or several columns qualify; the message lists the binary columns.
    """
    import pyarrow as pa

    def is_bytes(kind: pa.DataType) -> bool:
        if pa.types.is_struct(kind):
            return kind.get_field_index("bytes") >= 0 and is_bytes(kind.field("bytes").type)
        return pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind)

    binary = [field.name for field in schema if is_bytes(field.type)]
    listed = ", ".join(binary) or "none"
    if column is not None:
        if column not in binary:
            raise UsageError(f"{display_name(name)}: no column {column!r} of bytes; there are: {listed}")
        return column
    usual = [candidate for candidate in _IMAGE_COLUMNS if candidate in binary]
    if len(binary) != 1 and not usual:
        raise UsageError(f"{display_name(name)}: which column holds the images? Name one with --column: {listed}")
    return usual[0] if usual else binary[0]


def digest(units: Sequence[Unit]) -> str:
    """SHA-256 of a list of work units, in hex."""
    return hashlib.sha256("".join(f"{unit.to_json()}\n" for unit in units).encode()).hexdigest()


def sources(unit: Unit) -> Iterator[NamedSource]:
    """Yield the images of a work unit in order, one for each record.

    An image in an archive is named `FILE::MEMBER`, an image in a Parquet file `FILE::ROW`.
    """
    if unit.kind in ("tar", "zip", "refused"):
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
