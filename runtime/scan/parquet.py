"""Records as Parquet: the schema follows from the record; a file appears when it is complete."""

from __future__ import annotations

import importlib.util
from contextlib import ExitStack
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

from ..core.environment import pip_install
from ..core.errors import MissingDependencyError
from ..core.files import exclusive_path, writing
from ..scoring.record import RECORD_FIELDS, Record, to_dict

ROWS = 1024
"""Records in a row group; so many are in memory."""
MARK = b"cinemae.records"
"""Key in the metadata at a file's end, by which a later run knows that it may replace the file."""


def require_pyarrow() -> None:
    """Refuse what needs pyarrow where it is missing.

    Raises:
        MissingDependencyError: it is.
    """
    if importlib.util.find_spec("pyarrow") is None:
        raise MissingDependencyError(f"Parquet needs pyarrow: {pip_install('parquet')}")


def arrow_schema() -> Any:
    """The Arrow schema of records: a field without a default value is required, all others may be null."""
    import pyarrow as pa

    types, required = get_type_hints(Record), {item.name for item in fields(Record) if item.default is MISSING}
    return pa.schema(
        [pa.field(name, _arrow_type(types[name]), nullable=name not in required) for name in RECORD_FIELDS],
        metadata={MARK: b"1"},
    )


def _arrow_type(kind: Any) -> Any:
    """The Arrow type of a field of the record: dataclass -> struct, tuple -> list, literals are strings."""
    import pyarrow as pa

    if is_dataclass(kind):
        return pa.struct([(name, _arrow_type(inner)) for name, inner in get_type_hints(kind).items()])
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is tuple:
        return pa.list_(_arrow_type(arguments[0]))
    if origin is Literal:
        return pa.string()
    if arguments:  # X | None
        return _arrow_type(arguments[0])
    return {str: pa.string(), float: pa.float64(), int: pa.int64(), bool: pa.bool_()}[kind]


class ParquetFile:
    """A writer of records for `--out FILE.parquet`. The file appears when `finish` closes the stack."""

    def __init__(self, path: Path, stack: ExitStack) -> None:
        self._path, self._stack = path, stack
        self._writer: Any = None
        self._schema = arrow_schema()
        self._rows: list[dict[str, Any]] = []

    def write(self, record: Record) -> None:
        """Append one record.

        Raises:
            OutputError: the file cannot be written.
        """
        self._rows.append(to_dict(record))
        if len(self._rows) == ROWS:
            self._flush()

    def _flush(self) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        with writing(self._path):
            if self._writer is None:
                temporary = self._stack.enter_context(exclusive_path(self._path))
                self._writer = self._stack.enter_context(pq.ParquetWriter(temporary, self._schema, compression="zstd"))
            self._writer.write_table(pa.Table.from_pylist(self._rows, self._schema))
            self._rows.clear()

    def finish(self) -> None:
        """Complete the file.

        Raises:
            OutputError: it cannot be written.
        """
        self._flush()
        with writing(self._path):
            self._stack.close()
