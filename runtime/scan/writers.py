"""Writers of records: JSON lines (streamed and flushed), one JSON array, CSV, and a table for a terminal."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any, Literal, Protocol, get_args

from ..atomic import atomic_path
from ..display_text import display_name, printable
from ..errors import OutputError, UsageError
from ..reading import CONTRARY, Reading, is_contrary
from ..records import RECORD_FIELDS, STATS_FIELDS, Record, to_dict, to_json

Format = Literal["jsonl", "json", "csv"]
FORMATS: tuple[str, ...] = get_args(Format)
CSV_COLUMNS = tuple(
    column for name in RECORD_FIELDS for column in (STATS_FIELDS if name == "stats" else (name,))
)
"""`stats` becomes three columns; `reasons` and the statements of `evidence` are joined by "; "; empty for none."""


class Writer(Protocol):
    """Receives records one by one. An atomic file appears when `finish` is called."""

    def write(self, record: Record) -> None:
        """Append one record."""
        ...

    def finish(self) -> None:
        """Complete the output."""
        ...

    def abort(self) -> None:
        """Stop early: records already in a stream stay, an atomic file is discarded."""
        ...


class StreamWriter:
    """Encodes records onto a binary stream. It is opened at the first record, when the engine is known to work."""

    def __init__(self, open_stream: Callable[[ExitStack], IO[bytes]], format_name: str) -> None:
        self._open, self._format = open_stream, format_name
        self._stack = ExitStack()
        self._stream: IO[bytes] | None = None
        self._count = 0

    def _ready(self) -> IO[bytes]:
        if self._stream is None:
            self._stream = self._open(self._stack)
            if self._format == "json":
                self._stream.write(b"[")
            elif self._format == "csv":
                self._stream.write(_csv_line(CSV_COLUMNS))
        return self._stream

    def write(self, record: Record) -> None:
        """Append one record and flush it, so that it outlives this process."""
        stream = self._ready()
        if self._format == "csv":
            text = _csv_line(csv_row(record))
        elif self._format == "json":
            text = (b",\n" if self._count else b"\n") + to_json(record).encode("utf-8")
        else:
            text = to_json(record).encode("utf-8") + b"\n"
        stream.write(text)
        stream.flush()
        self._count += 1

    def finish(self) -> None:
        """Close the array and the file."""
        stream = self._ready()
        if self._format == "json":
            stream.write(b"\n]\n" if self._count else b"]\n")
        stream.flush()
        self._stack.close()

    def abort(self) -> None:
        """Leave a stream as it is; discard an unfinished atomic file."""
        error = RuntimeError("unfinished")
        self._stack.__exit__(RuntimeError, error, None)


def stdout_writer(stream: IO[bytes], format_name: str) -> StreamWriter:
    """Records onto standard output."""
    return StreamWriter(lambda stack: stream, format_name)


def file_writer(path: Path, format_name: str, append: bool = False) -> StreamWriter:
    """Records into a file: JSON lines grow in place (to follow and resume), JSON and CSV appear when complete.

    Args:
        path: the file.
        format_name: one of `FORMATS`.
        append: continue the JSON lines that are there.

    Raises:
        UsageError: `path` is a folder.
        OutputError: at the first record, when the file cannot be opened.
    """
    if path.is_dir():
        raise UsageError(f"{display_name(str(path))}: is a folder; --out names a file")

    def open_stream(stack: ExitStack) -> IO[bytes]:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if format_name == "jsonl":
                return stack.enter_context(path.open("ab" if append else "wb"))
            return stack.enter_context(stack.enter_context(atomic_path(path)).open("wb"))
        except OSError as error:
            raise OutputError(f"{display_name(str(path))}: cannot be written ({error.strerror or error})") from None

    return StreamWriter(open_stream, format_name)


def csv_row(record: Record) -> list[Any]:
    """Cells of `CSV_COLUMNS`; floats in full precision."""
    values = to_dict(record)
    values |= values.pop("stats") or dict.fromkeys(STATS_FIELDS)
    values["reasons"] = "; ".join(record.reasons)
    values["evidence"] = "; ".join(fact.statement for fact in record.evidence)
    return ["" if values[name] is None else values[name] for name in CSV_COLUMNS]


def _csv_line(cells: Any) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(cells)
    return text.getvalue().encode("utf-8")


STYLES = {"ai": "bold red", "real": "green", "uncertain": "yellow", "error": "magenta"}
SCREEN = 24
"""Rows after which the legend has scrolled away; it is then printed again at the end."""


class TableWriter:
    """A table on the terminal, on the console that the progress bar uses too."""

    def __init__(self, console: Any, reading: Reading) -> None:
        self._console = console
        self._reading = reading
        self._rows = 0

    def write(self, record: Record) -> None:
        """Print one row."""
        from rich.text import Text

        if not self._rows:
            self._legend()
            self._console.print(Text("verdict     P(AI)  input", style="bold"))
        self._rows += 1
        word = record.verdict or "error"
        probability = "" if record.probability is None else f"{record.probability:.1%}"
        contrary = is_contrary(record.verdict, record.probability)
        style = STYLES["uncertain" if contrary else word]
        line = Text.assemble((f"{word:<10}", style), f" {probability:>6}  {printable(record.path)}")
        note = record.error or "; ".join([*record.reasons, CONTRARY] if contrary else record.reasons)
        if note:
            line.append(f"  ({printable(note)})", style="dim")
        facts = "; ".join(fact.statement for fact in record.evidence if fact.kind != "jpeg_quality")
        if facts:
            line.append(f"\n                   file: {printable(facts)}", style="dim")
        self._console.print(line, soft_wrap=True, highlight=False)

    def _legend(self) -> None:
        for line in self._reading.legend():
            self._console.print(line, style="dim", soft_wrap=True, highlight=False, markup=False)

    def finish(self) -> None:
        """Repeat the legend below a long table."""
        if self._rows > SCREEN:
            self._legend()

    def abort(self) -> None:
        """Every row is printed already."""
