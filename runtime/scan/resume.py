"""Continue a killed run: records in `--out` are kept where path and content are unchanged, all other inputs are scored.

Usually the file just ends early. Its records are compared with the inputs in order, and the run appends after the last
record that still holds; memory does not grow. Where an input in the middle has changed, the records after that point
move to `OUT.resume`, `OUT` is cut there, and the moved records are looked up by path and content. The two files
together always hold all records made so far, so a resumed run may be killed and resumed again.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from ..core.errors import UsageError
from ..core.files import atomic_path, stream_sha256
from ..core.read_ahead import read_ahead
from ..core.text import display_name
from ..images.decode import ImageSource, opened
from ..images.source import AnySource, NamedSource
from ..scoring.detector import Detector
from ..scoring.pipeline import Prepare
from ..scoring.prepare import Prepared
from ..scoring.reading import Reading
from ..scoring.reasons import OF_VERDICTS, UNCALIBRATED
from ..scoring.record import Record, from_dict
from ..scoring.verdict import decide
from .walk import InputPath

HASHES_AHEAD = 64


@dataclass(frozen=True)
class Line:
    """A record in a JSON-lines file.

    Attributes:
        start: offset of its first byte.
        end: offset after its newline.
        record: its content.
    """

    start: int
    end: int
    record: Record


@dataclass(frozen=True)
class Resumed:
    """The state from which a resumed run continues.

    Attributes:
        rest: the inputs after those whose records stay in place.
        store: the file with the moved records.
        index: key of (path, content) -> offset of a record in `store`; about 150 bytes each, usually empty.
    """

    rest: Iterator[InputPath]
    store: Path
    index: dict[bytes, int]


def store_path(out: Path) -> Path:
    """The file for records whose place in `out` is not known yet."""
    return Path(f"{out}.resume")


def read_lines(path: Path) -> Iterator[Line]:
    """Whole records of a JSON-lines file, in order; stops at the first line that is torn or not a record."""
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return
    position = 0
    with file:
        for raw in file:
            if not raw.endswith(b"\n"):
                return
            try:
                record = from_dict(json.loads(raw))
            except (ValueError, KeyError, TypeError, RecursionError):
                return
            yield Line(position, position + len(raw), record)
            position += len(raw)


def named(item: InputPath) -> NamedSource:
    """The input as the detector takes it."""
    return NamedSource(item.path, item.open or item.path, item.error)


def current_sha256(source: ImageSource) -> str | None:
    """SHA-256 of an input as it is now; None where it cannot be read."""
    try:
        with opened(source, "") as file:
            return None if isinstance(file, (np.ndarray, Image.Image)) else stream_sha256(file)
    except Exception:  # archives raise exceptions of their own
        return None


def still_holds(record: Record, source: NamedSource, sha256: str | None, detector: Detector) -> bool:
    """Whether scoring `source` again would give this record: same path, content, engine, prior and decision.

    An input that failed is decoded again, because a missing package or lack of memory may be the reason.
    """
    if record.path != display_name(source.name) or record.sha256 != sha256 or record.engine != detector.label:
        return False
    if not _reads_alike(record, detector.reading) or not _as_many_frames(record, detector.frames):
        return False
    if record.status == "error" or record.logit is None:
        return record.error is not None and record.error == detector.prepare(source).error
    if (UNCALIBRATED in record.reasons) != detector.decision.uncalibrated:
        return False
    unusual = any(reason not in OF_VERDICTS for reason in record.reasons)
    return record.verdict == decide(record.logit, detector.decision, unusual)


def _reads_alike(record: Record, reading: Reading) -> bool:
    """Whether a record states this run's prior, thresholds and rates. An older one states none; its prior was 0.5."""
    stated: list[tuple[float | None, float | None]] = [(record.prior, reading.prior)]
    if record.cinemae:
        of_one_frame = record.frames is None or len(record.frames.scored) == 1  # no rate is known for several
        names = ("ai_from", "real_below", *(("false_alarm", "miss") if of_one_frame else ()))
        stated += [(getattr(record, name), getattr(reading, name)) for name in names]
    return all(a == b if a is None or b is None else math.isclose(a, b) for a, b in stated)


def _as_many_frames(record: Record, wanted: int) -> bool:
    """Whether a record scores as many frames as this run would; a damaged or very long file is scored again."""
    frames = record.frames
    return frames is None or (frames.count is not None and len(frames.scored) == min(frames.count, wanted))


def _key(path: str, sha256: str | None) -> bytes:
    text = f"{path}\0{sha256}".encode("utf-8", "surrogatepass")
    return hashlib.blake2b(text, digest_size=16).digest()


def check_engine(out: Path, detector: Detector) -> None:
    """Refuse to mix two engines in one file.

    Raises:
        UsageError: the first record of `out` is of another engine, or `out` is not a file of records.
    """
    first = next(read_lines(out), None)
    if first is None:
        if out.exists() and not out.is_file():
            raise UsageError(f"{out}: is not a file; --resume continues a JSON-lines file")
        if out.exists() and _holds_a_line(out):
            raise UsageError(f"{out}: does not hold records of this schema; choose another --out or leave out --resume")
    elif first.record.engine != detector.label:
        raise UsageError(
            f"{out}: was made by {first.record.engine}, this run uses {detector.label}; "
            "choose another --out or leave out --resume"
        )


def _holds_a_line(path: Path) -> bool:
    """Whether anything but one torn line is there."""
    with path.open("rb") as file:
        return b"\n" in file.read(1 << 20)


def resume(
    out: Path, inputs: Iterable[InputPath], detector: Detector, workers: int, kept: Callable[[Record], None]
) -> Resumed:
    """Prepare `out` for appending.

    Args:
        out: the JSON-lines file.
        inputs: of this run, in order.
        detector: of this run.
        workers: threads that hash the inputs.
        kept: called for each record that stays in place, in order.

    Raises:
        UsageError: as for `check_engine`.
    """
    check_engine(out, detector)
    store = store_path(out)
    items = iter(inputs)
    back: list[InputPath] = []
    end = 0

    def pairs() -> Iterator[tuple[Line, InputPath]]:
        for line in read_lines(out):
            item = None if back else next(items, None)
            if item is None:
                return
            yield line, item

    def holds(pair: tuple[Line, InputPath]) -> bool:
        line, item = pair
        source = named(item)
        sha256 = None if item.error else current_sha256(source.source)
        return still_holds(line.record, source, sha256, detector)

    with ThreadPoolExecutor(workers, thread_name_prefix="cinemae-hash") as pool:
        for (line, item), held in read_ahead(pool, holds, pairs(), HASHES_AHEAD):
            if held.result() and not back:
                end = line.end
                kept(line.record)
            else:
                back.append(item)  # after the first difference, inputs that were read ahead are scored
    if out.exists():
        _cut(out, store, end)
    return Resumed(itertools.chain(back, items), store, _index(store))


def _cut(out: Path, store: Path, end: int) -> None:
    """Move the whole records after `end` to `store`, sync it, then cut `out` at `end`."""
    tail = (line for line in read_lines(out) if line.start >= end)
    first = next(tail, None)
    if first is not None:
        with atomic_path(store) as temporary, temporary.open("wb") as target:
            if store.exists():
                with store.open("rb") as earlier:
                    shutil.copyfileobj(earlier, target)
            with out.open("rb") as source:
                for line in itertools.chain((first,), tail):
                    source.seek(line.start)
                    target.write(source.read(line.end - line.start))
    with out.open("r+b") as file:
        file.truncate(end)
        os.fsync(file.fileno())


def _index(store: Path) -> dict[bytes, int]:
    return {_key(line.record.path, line.record.sha256): line.start for line in read_lines(store)}


def preparer(detector: Detector, resumed: Resumed) -> Prepare:
    """`detector.prepare`, which first looks the input up among the moved records."""

    def look_up(source: AnySource) -> Prepared:
        if resumed.index and isinstance(source, NamedSource) and source.error is None:
            sha256 = current_sha256(source.source)
            start = resumed.index.get(_key(display_name(source.name), sha256))
            if start is not None:
                with resumed.store.open("rb") as file:
                    file.seek(start)
                    record = from_dict(json.loads(file.readline()))
                if still_holds(record, source, sha256, detector):
                    return Prepared(record.path, previous=record, sha256=sha256)
        return detector.prepare(source)

    return look_up
