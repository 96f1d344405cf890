"""The options of a local run, and the output format that follows from them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..core.errors import UsageError
from ..core.text import display_name
from ..images.frame_selection import DEFAULT_FRAMES
from .parquet import require_pyarrow
from .targets import is_stream
from .writers import FORMATS

TABLE = "table"


@dataclass(frozen=True)
class ScanOptions:
    """The options of `cinemae-run`; None stands for the default that the command documents."""

    inputs: tuple[str, ...]
    engine: Path | None = None
    device: str = "auto"
    threads: int | None = None
    format: str | None = None
    out: Path | None = None
    threshold: float | None = None
    prior: float = 0.5
    batch_size: int | None = None
    workers: int | None = None
    heatmaps: Path | None = None
    report: Path | None = None
    resume: bool = False
    fail_on_ai: bool = False
    quiet: bool = False
    null: bool = False
    watch: bool = False
    settle: float = 2.0
    decode: str | None = None
    allow_empty: bool = False
    frames: int | str = DEFAULT_FRAMES
    tiles: bool = False
    allow_url: bool = False
    stdin_image: bool = False


def output_format(options: ScanOptions, terminal: bool) -> str:
    """`--format`, else the suffix of `--out`, else a table on a terminal and JSON lines elsewhere.

    Raises:
        MissingDependencyError: Parquet without pyarrow.
        UsageError: an unknown format, or options that contradict each other.
    """
    if options.format is not None and options.format not in FORMATS:
        raise UsageError(f"unknown format {options.format!r}: use one of {', '.join(FORMATS)}")
    suffix = options.out.suffix.lower().lstrip(".") if options.out else ""
    implied = suffix if suffix in FORMATS else "jsonl" if options.out or not terminal else TABLE
    chosen = options.format or implied
    if chosen == "parquet":
        require_pyarrow()
        if options.out is None or is_stream(options.out):
            raise UsageError("Parquet is written to a file: give --out FILE.parquet")
    if options.resume and (options.out is None or chosen != "jsonl"):
        raise UsageError("--resume continues a JSON-lines file: give --out FILE.jsonl")
    if options.out is not None and (options.resume or options.watch) and is_stream(options.out):
        raise UsageError(f"{display_name(str(options.out))}: is not a file; --resume and --watch continue one")
    if options.watch and options.resume:
        raise UsageError("--watch continues --out by itself: leave out --resume")
    if options.watch and options.out is not None and chosen != "jsonl":
        raise UsageError("--watch appends JSON lines: give --out FILE.jsonl")
    if options.resume and options.report is not None:
        raise UsageError("--report shows every image, and --resume does not decode those already scored: leave one out")
    return chosen
