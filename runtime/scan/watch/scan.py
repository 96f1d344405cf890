"""`cinemae watch`: score files as they become complete, append their records, never score one twice."""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterator
from pathlib import Path

from ...core.errors import UsageError
from ...core.files import writing
from ...core.text import display_name
from ...images.source import NamedSource
from ...scoring.pipeline import Scored
from ...scoring.run import Run
from ..options import WatchOptions
from ..resume import check_run, current_sha256, read_lines
from ..session import Session, say
from ..targets import store_path
from ..walk import identities
from .watcher import Watcher, stop_on_signals, watch

MAX_INTERVAL = 1.0
"""Seconds between two looks at the folders, at most."""


def scan_folders(options: WatchOptions) -> int:
    """Score each new complete file until SIGINT or SIGTERM, and return the exit code.

    Raises:
        UsageError: an input is not a folder, or `--out` cannot be continued.
        EngineError, MissingDependencyError: the engine fails; records already written stand.
        OutputError: the records cannot be written.
    """
    with stop_on_signals() as stop, Session(options) as session:
        earlier = {} if options.out is None else earlier_scores(options.out, session.detector.run)
        watcher = Watcher(options.inputs, options.settle, identities(options.exclude))
        session.say(f"watching {', '.join(map(display_name, options.inputs))}; Ctrl-C or SIGTERM stops")
        session.consume(_new_files(session, watcher, earlier, stop, options.settle))
        return session.finish()


def earlier_scores(out: Path, run: Run) -> dict[str, str | None]:
    """Path -> content hash of the records in `out`; a line torn by a kill is cut off.

    Raises:
        UsageError: records of another run, something else than records, or an unfinished `--resume`.
    """
    if not out.exists():
        return {}
    check_run(out, run)
    shown = display_name(str(out))
    if store_path(out).exists():
        raise UsageError(f"{shown}: an earlier run was not finished: repeat it with cinemae run --resume, then watch")
    hashes: dict[str, str | None] = {}
    end = 0
    for raw, record in read_lines(out):
        hashes[record.path] = record.sha256
        end += len(raw)
    with writing(out), out.open("r+b") as file:
        file.seek(end)
        if b"\n" in file.read():
            raise UsageError(f"{shown}: holds something else than records; choose another --out")
        file.truncate(end)
    return hashes


def _new_files(
    session: Session, watcher: Watcher, earlier: dict[str, str | None], stop: threading.Event, settle: float
) -> Generator[Scored, None, None]:
    """Each new file with its record, in the order of their completion; batches that were begun are finished."""

    def sources(ready: list[str]) -> Iterator[NamedSource]:
        for path in ready:
            if stop.is_set():
                return
            name = display_name(path)
            if name not in earlier or earlier.pop(name) != current_sha256(path):
                yield NamedSource(path)

    for ready in watch(watcher, stop, max(0.02, min(MAX_INTERVAL, settle / 2)), say):
        yield from session.score(sources(ready))
