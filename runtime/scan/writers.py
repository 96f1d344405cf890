"""Writers of records: JSON lines (streamed and flushed), one JSON array, CSV."""

from __future__ import annotations

import csv
import io
import os
import time
from codecs import BOM_UTF8
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import IO, Any, Protocol

from ..core.files import exclusive_path, locked, writing
from ..scoring.record import FLAT_FIELDS, Record, flat, to_json
from .parquet import ParquetFile
from .targets import is_stream

FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""Text that begins so is a formula to a spreadsheet (OWASP, CSV injection); in CSV it begins with an apostrophe."""


class Writer(Protocol):
    """Receives records one by one. An atomic file appears when `finish` is called, and is discarded without that."""

    def write(self, record: Record) -> None:
        """Append one record."""
        ...

    def finish(self) -> None:
        """Complete the output."""
        ...


class StreamWriter:
    """Encodes records onto a binary stream. It is opened at the first record, when the engine is known to work.

    Args:
        stack: closed by `finish`.
        open_stream: opens it, and enters into the stack what must be closed.
        format_name: one of `FORMATS`.
        name: of the stream, for messages.
        in_place: a record that a full disk has torn is cut off again.
        bom: CSV begins with a byte order mark.
    """

    def __init__(
        self, stack: ExitStack, open_stream: Callable[[], IO[bytes]], format_name: str, name: str | Path, *,
        in_place: bool = False, bom: bool = False,
    ) -> None:
        self._stack, self._open, self._format, self._name = stack, open_stream, format_name, name
        self._in_place = in_place
        self._start = {"json": b"[", "csv": BOM_UTF8 * bom + _csv_line(FLAT_FIELDS)}.get(format_name, b"")
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

    def _append(self, text: bytes) -> None:
        with writing(self._name):
            if self._stream is None:
                self._stream = self._open()
                text = self._start + text
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


def stdout_writer(stream: IO[bytes], format_name: str, bom: bool = False) -> StreamWriter:
    """Records onto standard output, past its buffer: after an error nothing is left to be written at exit."""
    return StreamWriter(ExitStack(), lambda: getattr(stream, "raw", stream), format_name, "standard output", bom=bom)


@contextmanager
def file_writer(path: Path, format_name: str, append: bool = False, bom: bool = False) -> Iterator[Writer]:
    """Records into a file: JSON lines grow in place (to follow and resume), the others appear when complete.

    Links are written through; a pipe or a device such as a terminal gets the records as they are made. After an error
    in the block, an unfinished file is discarded; records already in a stream stay.

    Args:
        path: the file.
        format_name: one of `FORMATS`.
        append: continue the JSON lines that are there.
        bom: CSV begins with a byte order mark.

    Raises:
        OutputError: another run is writing the file, or it cannot be opened. JSON and CSV: at the first record.
    """
    stack, to_stream = ExitStack(), is_stream(path)
    in_place = format_name == "jsonl" and not to_stream

    def open_stream() -> IO[bytes]:
        if to_stream:
            return stack.enter_context(path.open("wb", buffering=0))
        if file is None:
            return stack.enter_context(stack.enter_context(exclusive_path(path)).open("wb"))
        if not append:
            file.truncate(0)
        file.seek(0, os.SEEK_END)
        return file

    with locked(path) if in_place else nullcontext() as file:
        try:
            if format_name == "parquet":
                yield ParquetFile(path, stack)
            else:
                yield StreamWriter(stack, open_stream, format_name, path, in_place=in_place, bom=bom)
        except BaseException as error:
            with suppress(OSError):  # of a full disk, which has been reported
                stack.__exit__(type(error), error, error.__traceback__)
            raise


def _csv_line(cells: Any) -> bytes:
    text = io.StringIO()
    safe = (f"'{cell}" if isinstance(cell, str) and cell.startswith(FORMULA) else cell for cell in cells)
    csv.writer(text, lineterminator="\n").writerow(safe)
    return text.getvalue().encode("utf-8")
