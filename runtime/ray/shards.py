"""Shards: the output files of a distributed run, one for each work unit, as JSON lines or Parquet."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..records import Record, from_dict, to_dict, to_json
from .storage import Folder

_ROWS = 1024


@dataclass
class Counts:
    """Records of a shard, or of many."""

    ai: int = 0
    real: int = 0
    uncertain: int = 0
    failed: int = 0

    def add(self, record: Record) -> None:
        """Count one record."""
        name = record.verdict or "failed"
        setattr(self, name, getattr(self, name) + 1)

    def merge(self, other: Counts) -> None:
        """Add all of `other`."""
        for name, value in asdict(other).items():
            setattr(self, name, getattr(self, name) + value)

    @property
    def total(self) -> int:
        """All records."""
        return self.ai + self.real + self.uncertain + self.failed


def shard_name(index: int, format_name: str) -> str:
    """File name of a shard; alphabetical order is the order of the inputs."""
    return f"part-{index:06d}.{format_name}"


def write_shard(folder: Folder, index: int, format_name: str, records: Iterable[Record]) -> Counts:
    """Write `records` as the shard of work unit `index`, atomically; an earlier shard of this unit is replaced.

    Raises:
        OutputError: the shard cannot be written.
    """
    counts = Counts()

    def counted() -> Iterator[Record]:
        for record in records:
            counts.add(record)
            yield record

    name = shard_name(index, format_name)
    if format_name == "jsonl":
        folder.publish_lines(name, (to_json(record) for record in counted()))
    else:
        folder.publish(name, lambda path: _write_parquet(path, counted()))
    return counts


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


def count_shard(folder: Folder, index: int, format_name: str) -> Counts:
    """`Counts` of a finished shard."""
    counts = Counts()
    for record in read_shard(folder, index, format_name):
        counts.add(record)
    return counts


def arrow_schema() -> Any:
    """The Arrow schema of records."""
    import pyarrow as pa

    text, number, count = pa.string(), pa.float64(), pa.int64()
    stats = pa.struct([(name, number) for name in ("s1", "s2", "s3")])
    return pa.schema(
        [
            pa.field("path", text, nullable=False), pa.field("status", text, nullable=False), ("error", text),
            ("verdict", text), ("probability", number), ("logit", number), ("stats", stats),
            ("reasons", pa.list_(text)), ("width", count), ("height", count), ("sha256", text), ("engine", text),
            ("schema", count),
        ]
    )  # fmt: skip


def _write_parquet(path: Path, records: Iterator[Record]) -> None:
    import itertools

    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = arrow_schema()
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        while rows := [to_dict(record) for record in itertools.islice(records, _ROWS)]:
            writer.write_table(pa.Table.from_pylist(rows, schema))
