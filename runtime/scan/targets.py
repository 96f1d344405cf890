"""Where a run writes, checked before anything is scored: no file but an earlier output of ours is replaced."""

from __future__ import annotations

import os
import re
import stat
from codecs import BOM_UTF8
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ..core.errors import OutputError, UsageError
from ..core.files import writing
from ..core.text import display_name
from ..images.formats import has_image_suffix
from .inputs import STDIN, input_name
from .parquet import MARK

REPORT_SUFFIXES = ("", ".html", ".htm")
OUT_SUFFIXES = ("", ".jsonl", ".ndjson", ".json", ".csv", ".parquet", ".txt")
FOOTER_BYTES = 1 << 16
"""The end of a Parquet file, where its metadata are."""
HEAD_BYTES = 1 << 16
"""The start of a file, which tells what it is; a name in it may be long."""
_PATH = re.compile(rb'(?:\[\n)?\{"path": "(?:[^"\\]|\\.)*')
PAGE_START = b"<!doctype html>\n<!-- report of cinemae-run -->"


def begins(start: bytes, head: bytes) -> bool:
    """Whether a file with the first bytes `head` begins with `start`; a shorter one may be torn."""
    return start.startswith(head[: len(start)])


def _holds_records(head: bytes) -> bool:
    """Whether `head` begins records of any format. A list of images in JSON lines begins with the path, too."""
    head = head.removeprefix(BOM_UTF8)  # of --csv-bom
    path = _PATH.match(head)
    if path is not None:
        return begins(b'", "status": "', head[path.end() :])
    return head == b"[]\n" or any(
        begins(start, head) for start in (b'{"path": "', b'[\n{"path": "', b"path,status,", b"PAR1")
    )


@dataclass(frozen=True)
class Targets:
    """The outputs of a run; None for one that is not wanted.

    Attributes:
        out: file of records.
        report: HTML page.
        heatmaps: folder of heatmaps.
        report_option: names the page in messages.
    """

    out: Path | None = None
    report: Path | None = None
    heatmaps: Path | None = None
    report_option: str = "--report"

    def check(
        self, inputs: Iterable[str], engine: str | os.PathLike[str] | None = None, any_suffix: bool = False
    ) -> None:
        """Refuse what would lose a file or fail after everything was scored; makes the folder of heatmaps.

        Args:
            inputs: arguments of the command.
            engine: the engine's file.
            any_suffix: `--format` was given, so that the suffix of `--out` tells nothing.

        Raises:
            UsageError: by its name, an output is an input, an image, another output, or of no kind that can be written.
            OutputError: an output cannot be written, or what lies there is something else.
        """
        self._check_names([*map(input_name, inputs), *([] if engine is None else [os.fspath(engine)])])
        if self.out is not None:
            for path in (self.out, store_path(self.out)):
                check_file("--out", path, _holds_records, "records")
            if not any_suffix and self.out.suffix.lower() not in OUT_SUFFIXES:
                known = ", ".join((*OUT_SUFFIXES[1:4], ".csv"))
                found = f"{known} and .parquet, not {self.out.suffix} (spreadsheets open .csv)"
                raise UsageError(f"{_name(self.out)}: --out writes {found}; --format allows any name")
        if self.report is not None:
            ours = "a report of cinemae-run"
            check_file(self.report_option, self.report, lambda head: begins(PAGE_START, head.lower()), ours)
            if self.report.suffix.lower() not in REPORT_SUFFIXES:
                raise UsageError(
                    f"{_name(self.report)}: {self.report_option} writes a page; give it a name that ends in .html"
                )
        if self.heatmaps is not None:
            _check_folder(self.heatmaps, inputs)

    def written(self) -> list[str]:
        """A line for each output, to be shown when all is written."""
        report = None if self.report is None else f"{_name(self.report)} (open {self.report.resolve().as_uri()})"
        named = {"records": self.out, "heatmaps": self.heatmaps}
        lines = [f"{what}: {_name(path)}" for what, path in named.items() if path is not None]
        return lines if report is None else [*lines, f"report: {report}"]

    def _check_names(self, inputs: Iterable[str]) -> None:
        outputs = {"--out": self.out, self.report_option: self.report, "--heatmaps": self.heatmaps}
        named = [(option, path) for option, path in outputs.items() if path is not None]
        if self.out is not None:
            named.append(("--resume's store", store_path(self.out)))
        for i, (option, path) in enumerate(named):
            for other, earlier in named[:i]:
                if _same(path, earlier):
                    raise UsageError(f"{_name(path)}: is named by {other} and {option}; give each its own name")
            if option == "--heatmaps":
                continue
            if has_image_suffix(str(path)) or has_image_suffix(os.path.realpath(path)):
                raise UsageError(f"{_name(path)}: {option} does not write images; name another file")
            for name in inputs:
                if name != STDIN and not os.path.isdir(name) and _same(path, Path(name)):
                    raise UsageError(f"{_name(path)}: is an input; name another file for {option}")


def _name(path: Path) -> str:
    return display_name(str(path))


def _same(one: Path, other: Path) -> bool:
    try:
        return os.path.samefile(one, other)
    except (OSError, ValueError):
        with suppress(ValueError):  # no file can have such a name
            return os.path.normcase(os.path.realpath(one)) == os.path.normcase(os.path.realpath(other))
        return False


def is_stream(path: Path) -> bool:
    """Whether `path` is a pipe or a device such as a terminal, to which records are written as they are made."""
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISCHR(mode)


def check_file(option: str, path: Path, ours: Callable[[bytes], bool], kind: str) -> None:
    """Refuse a path that cannot be written, and an existing file of another kind.

    Args:
        option: the option that names the file.
        path: the file.
        ours: tells from its first bytes whether a file is of the kind that may be replaced.
        kind: for the message.

    Raises:
        OutputError: the path cannot be written, or holds something else.
    """
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            raise OutputError(f"{_name(path)}: is a folder; {option} names a file")
        if is_stream(path) and option == "--out":
            return
        if not stat.S_ISREG(mode):
            raise OutputError(f"{_name(path)}: is a device; {option} names a file")
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
            file.seek(-min(path.stat().st_size, FOOTER_BYTES), os.SEEK_END)
            foreign_parquet = head.startswith(b"PAR1") and MARK not in file.read()
        if foreign_parquet or not ours(head):
            raise OutputError(f"{_name(path)}: exists and does not hold {kind}; name another file for {option}")
        if not os.access(path, os.W_OK):
            raise OutputError(f"{_name(path)}: cannot be written (no permission, or a read-only file system)")
        if option == "--out":  # records are appended; the folder need not take new files
            return
    except FileNotFoundError:
        pass
    except (OSError, ValueError) as error:
        raise OutputError(f"{_name(path)}: cannot be written ({getattr(error, 'strerror', None) or error})") from None
    check_writable(Path(os.path.realpath(path)).parent, path)


def check_writable(folder: Path, path: Path) -> None:
    """Refuse `path` where neither `folder` nor its nearest parent that exists can take a new file."""
    while not os.path.lexists(folder) and folder != folder.parent:
        folder = folder.parent
    if not folder.is_dir():
        raise OutputError(f"{_name(path)}: cannot be written ({_name(folder)} is not a folder)")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise OutputError(f"{_name(path)}: cannot be written ({_name(folder)} cannot be written to)")


def _check_folder(folder: Path, inputs: Iterable[str]) -> None:
    """Refuse a folder of heatmaps that holds an input folder, or that cannot be written to; make it."""
    target = os.path.realpath(folder)
    for name in inputs:
        if os.path.isdir(name) and (os.path.realpath(name) + os.sep).startswith(target.rstrip(os.sep) + os.sep):
            raise UsageError(f"--heatmaps {folder} holds the input {display_name(name)}: name another folder")
    check_writable(folder, folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)  # it must exist to be left out when inputs are listed
    except (OSError, ValueError) as error:
        raise OutputError(f"{_name(folder)}: cannot be made ({getattr(error, 'strerror', None) or error})") from None


def store_path(out: Path) -> Path:
    """The file for the records of earlier runs."""
    return Path(f"{out}.resume")


def forget(out: Path) -> None:
    """Remove the store, once all records are in `out`.

    Raises:
        OutputError: it cannot be removed.
    """
    store = store_path(out)
    if store.exists():
        with writing(store):
            with out.open("r+b") as file:
                os.fsync(file.fileno())
            store.unlink()
