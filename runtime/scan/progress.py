"""Progress of a run on stderr: a bar on a terminal, a line a minute in a log, nothing when quiet."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, TextIO

from ..errors import CinemaeError

LOG_SECONDS = 60.0


class Progress:
    """Counts finished inputs. The total is counted in the background, because listing a large tree takes a while."""

    def __init__(
        self, stream: TextIO, quiet: bool, count: Callable[[], int] | None = None, console: Any = None, done: int = 0
    ) -> None:
        """`count` finds the total (None: unknown); `console`: a rich console to share with other terminal output."""
        self._stream, self._count, self._done = stream, count, done
        self._quiet = quiet
        self._bar: Any = None
        self._task: Any = None
        self._total: int | None = None
        self._first, self._start = done, time.monotonic()
        self._shown = self._start
        if not quiet and stream.isatty():
            self._bar = _rich_bar(console)

    def __enter__(self) -> Progress:
        if self._bar is not None:
            self._bar.start()
            self._task = self._bar.add_task("scoring", total=None, completed=self._done, rate="")
        if not self._quiet and self._count is not None:
            threading.Thread(target=self._find_total, name="cinemae-count", daemon=True).start()
        return self

    def _find_total(self) -> None:
        try:
            self._total = self._count() if self._count is not None else None
        except CinemaeError:  # the run itself meets the same error and reports it
            return
        if self._bar is not None:
            self._bar.update(self._task, total=self._total)

    def advance(self) -> None:
        """One more input is done."""
        self._done += 1
        if self._quiet:
            return
        now = time.monotonic()
        rate = (self._done - self._first) / max(now - self._start, 1e-9)
        if self._bar is not None:
            self._bar.update(self._task, completed=self._done, rate=f"{rate:,.1f}/s")
        elif now - self._shown >= LOG_SECONDS:
            self._shown = now
            total = f"/{self._total:,}" if self._total else ""
            left = f", {(self._total - self._done) / rate / 60:.0f} min left" if self._total else ""
            print(f"{self._done:,}{total} inputs, {rate:,.1f}/s{left}", file=self._stream, flush=True)

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()


def _rich_bar(console: Any) -> Any:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    return Progress(
        BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[rate]}"), TimeRemainingColumn(),
        console=console or Console(stderr=True), transient=True,
    )  # fmt: skip
