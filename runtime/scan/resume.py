"""Continue a killed run: records in `--out` are kept where path and content are unchanged, all other inputs are scored.

The records move to `OUT.resume` and are looked up there by path and content, while `OUT` is written anew. The two files
together always hold all records made so far, so a resumed run may be killed and resumed again.
"""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import fields, replace
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from ..core.errors import UsageError
from ..core.files import atomic_path, stream_sha256, writing
from ..core.text import display_name
from ..images.source import AnySource, ImageSource, NamedSource, opened
from ..scoring.detector import Detector
from ..scoring.prepare import Prepared
from ..scoring.record import Record, from_dict
from ..scoring.run import Run
from .targets import store_path


def read_lines(path: Path) -> Iterator[tuple[bytes, Record]]:
    """Whole lines of a JSON-lines file and their records, in order; stops at one that is torn or not a record."""
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return
    with file:
        for raw in file:
            try:
                record = from_dict(json.loads(raw)) if raw.endswith(b"\n") else None
            except (ValueError, KeyError, TypeError, RecursionError):
                return
            if record is None:
                return
            yield raw, record


def refuse_to_cut(out: Path) -> None:
    """Refuse to replace JSON lines that hold records.

    Raises:
        UsageError: with what is done, and the command that goes on.
    """
    done = sum(count_lines(path) for path in (out, store_path(out)))
    if done:
        raise UsageError(
            f"{display_name(str(out))}: holds {done:,} {'record' if done == 1 else 'records'} of an earlier run; "
            f"go on with: {same_command('--resume')}; or replace them: --overwrite"
        )


def count_lines(path: Path) -> int:
    """Whole lines of a file; 0 where there is none."""
    try:
        with path.open("rb") as file:
            return sum(block.count(b"\n") for block in iter(partial(file.read, 1 << 20), b""))
    except FileNotFoundError:
        return 0


def same_command(*more: str) -> str:
    """The command line of this process with more options, as a shell takes it."""
    name, *arguments = sys.argv
    name = "cinemae" if os.path.basename(name) == "__main__.py" else os.path.basename(name)
    words = [name, *(word for word in arguments if word not in more), *more]
    return display_name(subprocess.list2cmdline(words) if os.name == "nt" else shlex.join(words))


def current_sha256(source: ImageSource) -> str | None:
    """SHA-256 of an input as it is now; None where it cannot be read."""
    try:
        with opened(source, "") as file:
            return None if isinstance(file, (np.ndarray, Image.Image)) else stream_sha256(file)
    except Exception:  # archives raise exceptions of their own
        return None


def check_run(out: Path, run: Run) -> None:
    """Refuse to mix two engines or two ways to score in one file.

    Raises:
        UsageError: the first record of `out` is of another run, or `out` is not a file of records.
    """
    _, first = next(read_lines(out), (b"", None))
    if first is None:
        if count_lines(out):  # anything but one torn line
            raise UsageError(f"{display_name(str(out))}: does not hold records of this schema; choose another --out")
        return
    rates = ("false_alarm", "miss") if first.frames else ()  # null where several frames were scored
    for name in (item.name for item in fields(Run) if item.name not in ("cinemae", *rates)):
        was, is_now = getattr(first.run, name), getattr(run, name)
        if was != is_now:
            where = display_name(str(out))
            raise UsageError(f"{where}: was made with {name} {was}, this run has {is_now}; choose another --out")


class Earlier:
    """The records of earlier runs, by path; about 150 bytes of memory each."""

    def __init__(self, out: Path, detector: Detector, pictures: bool = False) -> None:
        """Move the records of `out`, which this process has locked, to the store.

        Args:
            out: the records.
            detector: scores what is not there.
            pictures: decode the images of kept records, too, for a report.

        Raises:
            UsageError: as for `check_run`.
            OutputError: the store cannot be written.
        """
        self._detector, self._store, self._pictures = detector, store_path(out), pictures
        self._offsets: dict[bytes, int] = {}
        check_run(out, detector.run)
        check_run(self._store, detector.run)
        if not out.stat().st_size and not self._store.exists():
            return
        with writing(self._store):
            with atomic_path(self._store) as temporary, temporary.open("wb") as target:
                for path in (out, self._store):  # the newer record first
                    for raw, record in read_lines(path):
                        # a missing package or lack of memory may be why an input failed
                        if record.status == "ok" and (key := _key(record.path)) not in self._offsets:
                            self._offsets[key] = target.tell()
                            target.write(raw)
            with out.open("r+b") as file:
                file.truncate(0)
                os.fsync(file.fileno())

    def prepare(self, source: AnySource) -> Prepared:
        """As `Detector.prepare`, but for an input whose record still holds. New inputs are read once."""
        if isinstance(source, NamedSource) and source.error is None:
            name = display_name(source.name)
            start = self._offsets.get(_key(name))
            if start is not None:
                with self._store.open("rb") as file:
                    file.seek(start)
                    record = from_dict(json.loads(file.readline()))
                if self._pictures:
                    return kept(record, self._detector.prepare(source))
                if record.sha256 == current_sha256(source.image):
                    return Prepared(name, previous=record)
        return self._detector.prepare(source)


def kept(record: Record, again: Prepared) -> Prepared:
    """The input, decoded again, with its earlier record; without that where its bytes are others now."""
    return replace(again, previous=record) if again.sha256 == record.sha256 else again


def _key(path: str) -> bytes:
    return hashlib.blake2b(path.encode("utf-8", "surrogatepass"), digest_size=16).digest()
