"""The options of `cinemae ray`, checked before Ray is imported."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from ..core.errors import UsageError
from ..core.option import Option
from ..scan.options import CommandOptions, InputOptions

FORMATS = ("jsonl", "parquet")


@dataclass(frozen=True, kw_only=True)
class RayOptions(InputOptions, CommandOptions):
    """The options of `cinemae ray`.

    Attributes:
        inputs: files, folders, zip, tar, Parquet, globs, URLs such as s3://bucket/photos/, @list.txt, or -.
        out: folder or URL to which every node can write; each work unit becomes a shard there.
        address: the cluster: HOST:PORT, ray://HOST:PORT, auto, or local for a new cluster on this machine. Default: the
            cluster that RAY_ADDRESS names, else local.
        actors: engines. Default: one per GPU, or as many as fit the CPUs.
        format: of the shards.
        column: Parquet column that holds the images. Default: detected.
        workers: decoding threads of an engine. Default: as many as --threads.
        resume: keep the shards in --out and score what is missing.
    """

    out: str
    address: Annotated[str | None, Option(metavar="ADDRESS")] = None
    actors: Annotated[int | None, Option(minimum=1)] = None
    format: Annotated[str, Option(metavar=f"[{'|'.join(FORMATS)}]")] = FORMATS[0]
    column: str | None = None
    resume: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.out:
            raise UsageError("--out is empty: name a folder or URL to which every node can write")
        if self.format not in FORMATS:
            raise UsageError(f"--format is {' or '.join(FORMATS)}, not {self.format!r}")
        if self.actors is not None and self.actors < 1:
            raise UsageError(f"--actors must be at least 1, got {self.actors}")

    @property
    def threads(self) -> int:
        """CPUs of one actor."""
        return self.scoring.threads or 1
