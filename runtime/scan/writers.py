"""Writers of records: JSON lines (streamed and flushed), one JSON array, CSV."""

from __future__ import annotations

import csv
import io
import os
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO, Any, Protocol

from ..core.files import exclusive_path, locked, writing
from ..scoring.record import FLAT_FIELDS, Record, flat, to_json
from .parquet import ParquetFile
from .targets import is_stream

FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""Text that begins so is a formula to a spreadsheet (OWASP, CSV injection); in CSV it begins with an apostrophe."""


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
    """Encodes records onto a binary stream. It is opened at the first record, when the engine is known to work.

    Args:
        open_stream: opens it; what it enters into the stack is closed by `finish` or `abort`.
        format_name: one of `FORMATS`.
        name: of the stream, for messages.
        in_place: a record that a full disk has torn is cut off again.
    """

    def __init__(
        self,
        open_stream: Callable[[ExitStack], IO[bytes]],
        format_name: str,
        name: str | Path,
        in_place: bool = False,
    ) -> None:
        self._open, self._format, self._name, self._in_place = open_stream, format_name, name, in_place
        self._stack = ExitStack()
        self._stream: IO[bytes] | None = None
        self._count = 0

    def write(self, record: Record) -> None:
        """Append one record and flush it, so that it outlives this process.

        Raises:
            OutputError: it cannot be written. The records before it stay whole.
        """
        if self._format == "csv":
            text = _csv_line("" if value is None else value for value in flat(record).values())
        elif self._format == "json":
            text = (b",\n" if self._count else b"\n") + to_json(record).encode("utf-8")
        else:
            text = to_json(record).encode("utf-8") + b"\n"
        self._append(text)
        self._count += 1

    def finish(self) -> None:
        """Close the array and the file.

        Raises:
            OutputError: it cannot be written.
        """
        self._append(b"" if self._format != "json" else b"\n]\n" if self._count else b"]\n")
        with writing(self._name):
            self._stack.close()

    def abort(self) -> None:
        """Leave a stream as it is; discard an unfinished atomic file."""
        error = RuntimeError("unfinished")
        with suppress(OSError):
            self._stack.__exit__(RuntimeError, error, None)

    def _append(self, text: bytes) -> None:
        with writing(self._name):
            if self._stream is None:
                self._stream = self._open(self._stack)
                text = {"json": b"[", "csv": _csv_line(FLAT_FIELDS)}.get(self._format, b"") + text
            start = self._stream.tell() if self._in_place else 0
            try:
                _write_all(self._stream, text)
            except OSError:
                if self._in_place:
                    with suppress(OSError):
                        self._stream.truncate(start)
                raise


def _write_all(stream: IO[bytes], text: bytes) -> None:
    """Write and flush `text` onto a stream that may take only a part of it at a time."""
    rest = memoryview(text)
    while rest:
        written = stream.write(rest)
        if not written:  # a terminal or pipe that does not block and is full
            time.sleep(0.01)
        rest = rest[written or 0 :]
    stream.flush()


def stdout_writer(stream: IO[bytes], format_name: str) -> StreamWriter:
    """Records onto standard output, past its buffer: after an error nothing is left to be written at exit."""
    return StreamWriter(lambda stack: getattr(stream, "raw", stream), format_name, "standard output")


@contextmanager
def file_writer(path: Path, format_name: str, append: bool = False) -> Iterator[Writer]:
    """Records into a file: JSON lines grow in place (to follow and resume), the others appear when complete.

    Links are written through; a pipe or a device such as a terminal gets the records as they are made.

    Args:
        path: the file.
        format_name: one of `FORMATS`.
        append: continue the JSON lines that are there.

    Raises:
        OutputError: another run is writing the file, or it cannot be opened. JSON and CSV: at the first record.
    """
    if format_name == "parquet":
        yield ParquetFile(path)
    elif is_stream(path):
        yield StreamWriter(lambda stack: stack.enter_context(path.open("wb", buffering=0)), format_name, path)
    elif format_name != "jsonl":
        yield StreamWriter(
            lambda stack: stack.enter_context(stack.enter_context(exclusive_path(path)).open("wb")), format_name, path
        )
    else:
        with locked(path) as file:

            def open_stream(stack: ExitStack) -> IO[bytes]:
                if not append:
                    file.truncate(0)
                file.seek(0, os.SEEK_END)
                return file

            yield StreamWriter(open_stream, format_name, path, in_place=True)


def _csv_line(cells: Any) -> bytes:
    text = io.StringIO()
    safe = (f"'{cell}" if isinstance(cell, str) and cell.startswith(FORMULA) else cell for cell in cells)
    csv.writer(text, lineterminator="\n").writerow(safe)
    return text.getvalue().encode("utf-8")
