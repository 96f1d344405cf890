"""The options of a distributed run, checked before Ray is imported."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..core.errors import UsageError
from ..images.frame_selection import DEFAULT_FRAMES, frames_wanted
from .address import DEFAULT

FORMATS = ("jsonl", "parquet")


@dataclass(frozen=True)
class RayOptions:
    """The options of `cinemae-run --ray`; those not listed here are the same as in a local run.

    Attributes:
        out: folder or fsspec URL to which every node can write.
        address: `default`, `local`, `auto`, `HOST:PORT` or `ray://HOST:PORT`.
        threads: CPUs of one actor.
        batch_size: images in one inference; None for the engine's best number.
        format: `jsonl` or `parquet`.
        actors: engines in the actor pool; None for as many as the cluster's GPUs or CPUs can hold.
        column: Parquet column that holds the images; None to detect it.
        allow_url: http and https URLs are fetched.
        refused: options on the command line that only a local run supports.
    """

    inputs: tuple[str, ...]
    out: str
    address: str = DEFAULT
    engine: Path | None = None
    device: str = "auto"
    threads: int | None = None
    format: str | None = None
    threshold: float | None = None
    prior: float = 0.5
    batch_size: int | None = None
    workers: int | None = None
    actors: int | None = None
    column: str | None = None
    resume: bool = False
    fail_on_ai: bool = False
    quiet: bool = False
    null: bool = False
    allow_empty: bool = False
    allow_url: bool = False
    frames: int | str = DEFAULT_FRAMES
    refused: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.refused:
            raise UsageError(
                f"{', '.join(self.refused)}: not supported with --ray; use a local run on the images concerned"
            )
        if not self.out:
            raise UsageError("--ray writes shards: give --out, a folder or URL to which every node can write")
        if self.format is not None and self.format not in FORMATS:
            raise UsageError(f"--ray writes shards as {' or '.join(FORMATS)}, not {self.format!r}")
        frames_wanted(self.frames)
        counts = (self.batch_size, self.workers, self.actors, self.threads)
        if any(count is not None and count < 1 for count in counts):
            raise UsageError("--batch-size, --workers, --threads and --ray-actors must be at least 1")
