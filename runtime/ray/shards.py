"""Shards: the output files of a distributed run, one for each work unit, as JSON lines or Parquet."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import MISSING, fields, is_dataclass
from pathlib import Path
from typing import Any, Literal, get_args, get_origin, get_type_hints

from ..records import RECORD_FIELDS, Record, from_dict, to_dict, to_json
from ..scan.tally import Tally
from .storage import Folder

_ROWS = 1024


def shard_name(index: int, format_name: str) -> str:
    """File name of a shard; alphabetical order is the order of the inputs."""
    return f"part-{index:06d}.{format_name}"


def write_shard(folder: Folder, index: int, format_name: str, records: Iterable[Record]) -> Tally:
    """Write `records` as the shard of work unit `index`, atomically; an earlier shard of this unit is replaced.

    Raises:
        OutputError: the shard cannot be written.
    """
    tally = Tally()

    def counted() -> Iterator[Record]:
        for record in records:
            tally.add(record)
            yield record

    name = shard_name(index, format_name)
    if format_name == "jsonl":
        folder.publish_lines(name, (to_json(record) for record in counted()))
    else:
        folder.publish(name, lambda path: _write_parquet(path, counted()))
    return tally


def read_shard(folder: Folder, index: int, format_name: str) -> Iterator[Record]:
    """Yield the records of a finished shard."""
    import json

    with folder.read(shard_name(index, format_name)) as file:
        if format_name == "jsonl":
            for line in file:
                yield from_dict(json.loads(line))
        else:
            import pyarrow.parquet as pq

            for batch in pq.ParquetFile(file).iter_batches(_ROWS):
                yield from map(from_dict, batch.to_pylist())


def count_shard(folder: Folder, index: int, format_name: str) -> Tally:
    """The counts of a finished shard."""
    tally = Tally()
    for record in read_shard(folder, index, format_name):
        tally.add(record)
    return tally


def arrow_schema() -> Any:
    """The Arrow schema of records: a field without a default value is required, all others may be null."""
    import pyarrow as pa

    types, required = get_type_hints(Record), {item.name for item in fields(Record) if item.default is MISSING}
    return pa.schema(
        [pa.field(name, _arrow_type(types[name]), nullable=name not in required) for name in RECORD_FIELDS]
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
    return {str: pa.string(), float: pa.float64(), int: pa.int64()}[kind]


def _write_parquet(path: Path, records: Iterator[Record]) -> None:
    import itertools

    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = arrow_schema()
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        while rows := [to_dict(record) for record in itertools.islice(records, _ROWS)]:
            writer.write_table(pa.Table.from_pylist(rows, schema))
