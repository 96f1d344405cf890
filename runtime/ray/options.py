"""The options of a distributed run, checked before Ray is imported."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..errors import UsageError
from .address import DEFAULT

FORMATS = ("jsonl", "parquet")


@dataclass(frozen=True)
class RayOptions:
    """A distributed run. address: `default`, `local`, `auto`, `HOST:PORT` or `ray://HOST:PORT`.

    out: folder or fsspec URL that every node writes to. actors: engines in the pool, None for as many as the cluster's
    CPUs (or GPUs) hold. threads: CPUs of one actor. column: Parquet column of the images. refused: options that were
    given and that only a local run has.
    """

    inputs: tuple[str, ...]
    out: str
    address: str = DEFAULT
    engine: Path | None = None
    device: str = "auto"
    threads: int | None = None
    format: str | None = None
    threshold: float | None = None
    batch_size: int = 8
    workers: int | None = None
    actors: int | None = None
    column: str | None = None
    resume: bool = False
    fail_on_ai: bool = False
    quiet: bool = False
    null: bool = False
    refused: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.refused:
            raise UsageError(f"{', '.join(self.refused)}: not with --ray; run it locally on the images it is about")
        if not self.out:
            raise UsageError("--ray writes shards: give --out DIR, a folder that every node sees, or a URL")
        if self.format is not None and self.format not in FORMATS:
            raise UsageError(f"--ray writes shards as {' or '.join(FORMATS)}, not {self.format!r}")
        counts = (self.batch_size, self.workers, self.actors, self.threads)
        if any(count is not None and count < 1 for count in counts):
            raise UsageError("--batch-size, --workers, --threads and --ray-actors must be at least 1")
