"""`cinemae-run --watch`: score files as they become complete, append their records, never score one twice."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from pathlib import Path

from ...core.errors import UsageError
from ...core.files import writing
from ...core.text import display_name
from ...images.source import NamedSource
from ...scoring.detector import Detector
from ...scoring.pipeline import Scored, decode_and_score
from ..resume import check_engine, current_sha256, read_lines, store_path
from .watcher import Watcher, watch

MAX_INTERVAL = 1.0
"""Seconds between two looks at the folders, at most."""


@dataclass(frozen=True)
class WatchOptions:
    """How to watch.

    Attributes:
        folders: the watched folders.
        settle: seconds a file must stand still.
        batch_size: images in one inference.
        workers: decoding threads.
        out: JSON-lines file with earlier records, or None.
        exclude: folders that are not entered.
    """

    folders: tuple[str, ...]
    settle: float
    batch_size: int
    workers: int
    out: Path | None
    exclude: tuple[str, ...] = ()


def earlier_scores(out: Path, detector: Detector) -> dict[str, str | None]:
    """Path -> content hash of the records in `out`; a line torn by a kill is cut off.

    Raises:
        UsageError: another engine's records, something else than records, or an unfinished `--resume`.
    """
    if not out.exists():
        return {}
    check_engine(out, detector)
    if store_path(out).exists():
        raise UsageError(f"{out}: an earlier run was not finished: repeat it with --resume, then --watch")
    hashes: dict[str, str | None] = {}
    end = 0
    for line in read_lines(out):
        hashes[line.record.path] = line.record.sha256
        end = line.end
    with writing(out), out.open("r+b") as file:
        file.seek(end)
        if b"\n" in file.read():
            raise UsageError(f"{out}: holds something else than records; choose another --out")
        file.truncate(end)
    return hashes


def score_new_files(
    detector: Detector, options: WatchOptions, stop: threading.Event, say: Callable[[str], None]
) -> Generator[Scored, None, None]:
    """Score each new complete file until `stop` is set; the batches begun by then are finished.

    Returns:
        one `Scored` for each file, in the order in which the files became complete.

    Raises:
        UsageError: an input is not a folder, or `out` cannot be continued.
        EngineError, MissingDependencyError: the engine fails; records already yielded stand.
    """
    earlier = {} if options.out is None else earlier_scores(options.out, detector)
    watcher = Watcher(options.folders, options.settle, [_identity(folder) for folder in options.exclude])
    return _score_new_files(detector, options, watcher, earlier, stop, say)


def _identity(folder: str) -> tuple[int, int]:
    os.makedirs(folder, exist_ok=True)  # it must exist to be told from the others
    status = os.stat(folder)
    return status.st_dev, status.st_ino


def _score_new_files(
    detector: Detector,
    options: WatchOptions,
    watcher: Watcher,
    earlier: dict[str, str | None],
    stop: threading.Event,
    say: Callable[[str], None],
) -> Generator[Scored, None, None]:
    def sources(ready: list[str]) -> Iterator[NamedSource]:
        for path in ready:
            if stop.is_set():
                return
            name = display_name(path)
            if name in earlier and earlier.pop(name) == current_sha256(path):
                continue
            yield NamedSource(path, path)

    interval = max(0.02, min(MAX_INTERVAL, options.settle / 2))
    for ready in watch(watcher, stop, interval, say):
        yield from decode_and_score(
            sources(ready), detector.prepare, detector.begin, options.batch_size, options.workers
        )
