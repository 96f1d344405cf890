"""`cinemae watch`: score files as they become complete, append their records, never score one twice."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
import threading
from collections.abc import Generator, Iterator
from pathlib import Path

from ...core.errors import UsageError
from ...core.files import writing
from ...core.text import display_name, printable
from ...evidence.fact import declares_ai
from ...images.source import NamedSource
from ...images.walk import identities
from ...scoring.pipeline import Scored
from ...scoring.record import to_json
from ...scoring.run import Run
from ..options import WatchOptions
from ..resume import check_run, current_sha256, read_lines
from ..session import Session, say
from ..targets import store_path
from .watcher import Watcher, stop_on_signals, watch

_PLACE = re.compile(r"\{(path|verdict|declares)\}")
MAX_INTERVAL = 1.0
"""Seconds between two looks at the folders, at most."""


def scan_folders(options: WatchOptions) -> int:
    """Score each new complete file until SIGINT or SIGTERM, and return the exit code.

    Raises:
        UsageError: an input is not a folder, or `--out` cannot be continued.
        EngineError, MissingDependencyError: the engine fails; records already written stand.
        OutputError: the records cannot be written.
    """
    command = None if options.command is None else Command(options.command)
    with stop_on_signals() as stop, Session(options) as session:
        earlier = {} if options.out is None else earlier_scores(options.out, session.detector.run)
        watcher = Watcher(options.inputs, options.settle, identities(options.exclude))
        session.say(f"watching {', '.join(map(display_name, options.inputs))}; Ctrl-C or SIGTERM stops")
        session.consume(_told(_new_files(session, watcher, earlier, stop, options.settle), options, command))
        return session.finish()


class Command:
    """That of `--exec`: gets each record as JSON on stdin; `{path}`, `{verdict}` and `{declares}` are replaced."""

    def __init__(self, text: str) -> None:
        """Split the text into words, as a shell would; no shell ever reads them, or a file name.

        Raises:
            UsageError: an open quote, or there is no such program.
        """
        try:
            self._words = shlex.split(text)
        except ValueError as error:
            raise UsageError(f"--exec {text!r}: {error}; quote it as for a shell") from None
        if not self._words or shutil.which(self._words[0]) is None:
            raise UsageError(f"--exec {text!r}: there is no such program; give its path")

    def __call__(self, item: Scored) -> None:
        """Run the command for one record and wait for it; where it fails, a warning says so."""
        record, source = item.record, item.source
        path = source.name if isinstance(source, NamedSource) else record.path
        verdict, program = record.verdict or "error", self._words[0]
        values = {"verdict": verdict, "declares": "ai" if declares_ai(record.evidence) else "", "path": path}
        words = [_PLACE.sub(lambda found: values[found[1]], word) for word in self._words[1:]]
        try:  # in a session of its own: Ctrl-C ends the watch, not the command; its output is not among the records
            done = subprocess.run(
                [program, *words], input=f"{to_json(record)}\n".encode(), stdout=2, check=False, start_new_session=True
            )
            why = f"ended with {done.returncode}" if done.returncode else ""
        except (OSError, ValueError) as error:
            why = str(error)
        if why:
            say(f"warning: {display_name(path)}: --exec {program}: {why}")


def _told(
    scored: Generator[Scored, None, None], options: WatchOptions, command: Command | None
) -> Generator[Scored, None, None]:
    """The same; after each record is written, the file has a line on stderr, and the command runs."""
    for item in scored:
        yield item
        if options.out is not None and not options.quiet:
            record, error = item.record, item.record.error
            said = "" if record.probability is None else f"{record.probability:.1%}"
            more = f": {error.text}" if error else "  [declares AI]" if declares_ai(record.evidence) else ""
            line = f"{record.verdict or 'error':<10} {said:>6}  {record.path}{more}"
            print(printable(line), file=sys.stderr, flush=True)
        if command is not None:
            command(item)


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
