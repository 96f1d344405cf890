"""Shards: the output files of a distributed run, one for each work unit, as JSON lines or Parquet."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path

from ..scan.parquet import ROWS
from ..scan.tally import Tally
from ..scan.writers import file_writer
from ..scoring.record import Record, from_dict
from .storage import Folder


def shard_name(index: int, format_name: str) -> str:
    """File name of a shard; alphabetical order is the order of the inputs."""
    return f"part-{index:06d}.{format_name}"


def write_shard(folder: Folder, index: int, format_name: str, records: Iterable[Record]) -> Tally:
    """Write `records` as the shard of work unit `index`, atomically; an earlier shard of this unit is replaced.

    Raises:
        OutputError: the shard cannot be written.
    """
    tally = Tally()

    def write(path: Path) -> None:
        with file_writer(path, format_name) as writer:
            for record in records:
                tally.add(record)
                writer.write(record)
            writer.finish()

    folder.publish(shard_name(index, format_name), write)
    return tally


def read_shard(folder: Folder, index: int, format_name: str) -> Iterator[Record]:
    """Yield the records of a finished shard."""
    with folder.read(shard_name(index, format_name)) as file:
        if format_name == "jsonl":
            yield from (from_dict(json.loads(line)) for line in file)
        else:
            import pyarrow.parquet as pq

            for batch in pq.ParquetFile(file).iter_batches(ROWS):
                yield from map(from_dict, batch.to_pylist())


def count_shard(folder: Folder, index: int, format_name: str) -> Tally:
    """The counts of a finished shard."""
    tally = Tally()
    for record in read_shard(folder, index, format_name):
        tally.add(record)
    return tally
