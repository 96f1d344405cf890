"""Shards: the output files of a distributed run, one for each work unit, as JSON lines or Parquet."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ..scan.parquet import ROWS, write_parquet
from ..scan.tally import Tally
from ..scoring.record import Record, from_dict, to_json
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

    def counted() -> Iterator[Record]:
        for record in records:
            tally.add(record)
            yield record

    name = shard_name(index, format_name)
    if format_name == "jsonl":
        folder.publish_lines(name, (to_json(record) for record in counted()))
    else:
        folder.publish(name, lambda path: write_parquet(path, counted()))
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

            for batch in pq.ParquetFile(file).iter_batches(ROWS):
                yield from map(from_dict, batch.to_pylist())


def count_shard(folder: Folder, index: int, format_name: str) -> Tally:
    """The counts of a finished shard."""
    tally = Tally()
    for record in read_shard(folder, index, format_name):
        tally.add(record)
    return tally
