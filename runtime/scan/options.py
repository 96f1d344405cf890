"""The options of `cinemae run` and `cinemae watch`, and those that `cinemae ray` shares with them."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, ClassVar, Literal, get_args

from ..core.errors import UsageError
from ..core.option import Option
from ..core.text import display_name
from ..scoring.options import ScoringOptions

Format = Literal["jsonl", "json", "csv", "parquet"]
FORMATS: tuple[str, ...] = get_args(Format)
TABLE = "table"
SORTS = ("input", "suspicion", "name")


@dataclass(frozen=True, kw_only=True)
class CommandOptions:
    """What all commands that score files have in common.

    Attributes:
        scoring: how images are scored.
        batch_size: images per inference. Default: the best batch of a plan, else 8.
        workers: decoding threads. Default: one per CPU.
        fail_on_ai: exit with 4 if an image is judged ai.
        fail_on_declared: exit with 4 if a file declares that a generator made it.
        quiet: print only errors on stderr.

    Raises:
        UsageError: a value that is not allowed, or options that contradict each other.
    """

    scoring: ScoringOptions = field(default_factory=ScoringOptions)
    batch_size: int | None = None
    workers: int | None = None
    fail_on_ai: bool = False
    fail_on_declared: bool = False
    quiet: Annotated[bool, Option(names=("--quiet", "-q"))] = False

    def __post_init__(self) -> None:
        for name in ("batch_size", "workers"):
            if (value := getattr(self, name)) is not None and value < 1:
                raise UsageError(f"--{name.replace('_', '-')} must be at least 1, got {value}")


@dataclass(frozen=True, kw_only=True)
class InputOptions:
    """Which images are scored.

    Attributes:
        inputs: files, folders (recursive), zip and tar, globs, @list.txt, or - (names on stdin).
        allow_empty: exit with 0 where there is no image to score, instead of 2.
        null: names in lists and on stdin end with a zero byte.
        allow_url: fetch inputs that are http or https URLs, from public addresses.
    """

    inputs: Annotated[tuple[str, ...], Option(argument=True)] = ()
    allow_empty: bool = False
    null: Annotated[bool, Option(names=("--null", "-0"))] = False
    allow_url: bool = False


@dataclass(frozen=True, kw_only=True)
class RunOptions(CommandOptions):
    """What `cinemae run` and `cinemae watch` have in common.

    Attributes:
        inputs: files or folders.
        format: of the records. Default: by the suffix of --out; a table on a terminal; else jsonl.
        out: write records to this file instead of stdout.
        heatmaps: save a heatmap of each image in this folder.
        report: write the results and pictures as one self-contained HTML page.
        csv_bom: begin CSV, also that of the report's review, with a mark that has Excel read names as UTF-8.
    """

    inputs: tuple[str, ...]
    format: Annotated[str | None, Option(metavar=f"[{'|'.join(FORMATS)}]")] = None
    out: Path | None = None
    heatmaps: Path | None = None
    report: Path | None = None
    csv_bom: bool = False

    CONTINUES: ClassVar[str]
    """What makes the run continue `out`, in messages."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.format not in (None, *FORMATS):
            raise UsageError(f"unknown format {self.format!r}: use one of {', '.join(FORMATS)}")

    @property
    def continues(self) -> bool:
        """Whether records that `out` holds stay there."""
        return self.out is not None

    @property
    def exclude(self) -> list[str]:
        """Folders of outputs, which are no inputs."""
        return [] if self.heatmaps is None else [str(self.heatmaps)]

    def output_format(self, terminal: bool) -> str:
        """`format`, else the suffix of `out`, else a table on a terminal and JSON lines elsewhere.

        Raises:
            MissingDependencyError: Parquet without pyarrow.
            UsageError: an output that cannot have this format, or cannot be continued.
        """
        from .targets import is_stream

        suffix = self.out.suffix.lower().lstrip(".") if self.out else ""
        implied = suffix if suffix in FORMATS else "jsonl" if self.out or not terminal else TABLE
        chosen = self.format or implied
        if chosen == "parquet":
            from .parquet import require_pyarrow

            require_pyarrow()
            if self.out is None or is_stream(self.out):
                raise UsageError("Parquet is written to a file: give --out FILE.parquet")
        if self.csv_bom and chosen != "csv" and self.report is None:
            raise UsageError("--csv-bom: only with CSV (--format csv, or --out FILE.csv) or --report")
        if self.continues:
            if self.out is None or chosen != "jsonl":
                without = f", without --format {self.format}" if self.format else ""
                raise UsageError(f"{self.CONTINUES} continues a JSON-lines file: give --out FILE.jsonl{without}")
            if is_stream(self.out):
                raise UsageError(f"{display_name(str(self.out))}: is not a file; {self.CONTINUES} continues one")
        return chosen


@dataclass(frozen=True, kw_only=True)
class ScanOptions(InputOptions, RunOptions):
    """The options of `cinemae run`.

    Attributes:
        resume: keep the records in --out whose input has not changed, and score the rest.
        overwrite: replace the records in --out.
        stdin_image: the input - is an image on stdin, no list of names.
        sort: order of the table on a terminal; suspicion: files that declare AI first, then high scores.
    """

    resume: bool = False
    overwrite: bool = False
    stdin_image: bool = False
    sort: Annotated[str, Option(metavar=f"[{'|'.join(SORTS)}]")] = SORTS[0]

    CONTINUES = "--resume"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.sort not in SORTS:
            raise UsageError(f"unknown order {self.sort!r}: use one of {', '.join(SORTS)}")
        if self.stdin_image and "-" not in self.inputs:
            raise UsageError("--stdin-image: only with the input -")
        if self.resume and self.overwrite:
            raise UsageError("--resume keeps the records in --out, --overwrite replaces them: leave one out")

    @property
    def continues(self) -> bool:
        """Whether records that `out` holds stay there."""
        return self.resume

    def output_format(self, terminal: bool) -> str:
        """As `RunOptions.output_format`; only the table is sorted."""
        chosen = super().output_format(terminal)
        if self.sort != SORTS[0] and chosen != TABLE:
            raise UsageError("--sort orders the table on a terminal; records elsewhere keep the order of the inputs")
        return chosen


@dataclass(frozen=True, kw_only=True)
class WatchOptions(RunOptions):
    """The options of `cinemae watch`.

    Attributes:
        inputs: folders whose new files are scored.
        settle: seconds without a change until a file is complete.
        format: a watch continues JSON lines.
        command: run a command for each record, without a shell: {path}, {verdict} and {declares} (ai, or nothing) are
            replaced, the record is on its stdin.
    """

    inputs: Annotated[tuple[str, ...], Option(argument=True, metavar="FOLDERS")]
    settle: float = 2.0
    format: Annotated[str | None, Option(hidden=True)] = None
    command: Annotated[str | None, Option(names=("--exec",), metavar="COMMAND")] = None

    CONTINUES = "cinemae watch"


@dataclass(frozen=True, kw_only=True)
class PageOptions:
    """The options of `cinemae report`.

    Attributes:
        records: JSON lines of `cinemae run`, `cinemae watch` or `cinemae ray`.
        out: the page; FILE.csv, FILE.json or FILE.parquet: the same records in that format. Default: the name of the
            records, with .html.
        engine: the engine that made the records, for the page. Default: the bundled engine.
        csv_bom: begin CSV with a mark that has Excel read names as UTF-8.
    """

    records: Annotated[Path, Option(argument=True, metavar="RECORDS")]
    out: Path | None = None
    engine: Annotated[str | None, Option(metavar="PATH")] = None
    csv_bom: bool = False
