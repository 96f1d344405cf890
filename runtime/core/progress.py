"""Progress on stderr, for every command: a bar on a terminal, about ten lines in a log, nothing when quiet."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from .errors import CinemaeError

BAR_SECONDS = 0.1
LOG_SECONDS = 60.0
LOG_LINES = 10


@dataclass
class _Step:
    """The work around a progress: its name, when it began, and, where several share their lines, when one is due."""

    name: str = ""
    began: float = 0.0
    due: float | None = None


_STEP: ContextVar[_Step] = ContextVar("_STEP")


@contextmanager
def step(name: str, *, shared: bool = False) -> Iterator[None]:
    """Inside the block, every progress begins with `name`: what is shown of work of several steps.

    Args:
        name: of the step.
        shared: in a log, all inside have no more lines than one: after a minute, two, four, eight, and so on.
    """
    now = time.monotonic()
    token = _STEP.set(_Step(f"{name}: ", now, now + LOG_SECONDS if shared else None))
    try:
        yield
    finally:
        _STEP.reset(token)


def duration(seconds: float) -> str:
    """Seconds as h:mm:ss."""
    minutes, s = divmod(int(seconds), 60)
    h, m = divmod(minutes, 60)
    return f"{h}:{m:02d}:{s:02d}"


class Progress:
    """Counts items and shows how many are done, items/s and the estimated time left; use it in a `with` block.

    A log gets a line after a minute, and then one for each tenth of the work, at most one a minute.

    Args:
        unit: the items' name in the plural, such as "images".
        total: how many there will be, or None. A function is called in the background: listing a large tree takes
            a while.
        done: items that an earlier run has done; they do not count for the rate.
        quiet: show nothing.
        closing: print a last line when the block ends well, with the final count and note.
        console: the rich console of other output on the same terminal; two would write over each other.
    """

    def __init__(
        self,
        unit: str,
        total: int | Callable[[], int] | None = None,
        *,
        done: int = 0,
        quiet: bool = False,
        closing: bool = True,
        console: Any = None,
    ) -> None:
        self._step, self._unit, self._quiet, self._closing = _STEP.get(_Step()), unit, quiet, closing
        self._total: int | None = None if callable(total) else total
        self._count: Callable[[], int] | None = total if callable(total) else None
        self._done = self._first = done
        self._share_left: tuple[float, float] | None = None
        self._start = self._shown = 0.0
        self._part = -1
        self.note = ""
        """The end of the line, such as the latest loss."""
        self._bar = None if quiet or not sys.stderr.isatty() else _bar(console)

    def __enter__(self) -> Progress:
        self._start = self._shown = time.monotonic()
        if self._bar is not None:
            self._bar.start()
        if not self._quiet and self._count is not None:
            threading.Thread(target=self._find_total, args=(self._count,), name="cinemae-count", daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()
        if kind is None and self._closing and not self._quiet and self._step.due is None:
            print(self._line(time.monotonic(), ends=True), file=sys.stderr, flush=True)

    def _find_total(self, count: Callable[[], int]) -> None:
        try:
            self._total = count()
        except CinemaeError:  # the command meets the same error when it reads its inputs, and reports it
            return

    def advance(self, items: int = 1, note: str = "", share_left: tuple[float, float] | None = None) -> None:
        """Count finished items.

        Args:
            items: how many more are done.
            note: the new end of the line; empty keeps the last one.
            share_left: share of the work that is done, in [0, 1], and the seconds left, where something else than the
                count sets the end, such as time.
        """
        self._done += items
        self._share_left = share_left
        self.note = note or self.note
        if self._is_due(time.monotonic()):
            self._show()

    def show(self) -> None:
        """Show the line now, as before the first item, which may take long; a step that shares its lines has none."""
        if self._bar is not None or self._step.due is None:
            self._show()

    def _is_due(self, now: float) -> bool:
        """Whether a line is due; in a log, this counts it."""
        step, waited = self._step, now - self._shown
        if self._bar is not None:
            return waited >= BAR_SECONDS
        if step.due is not None:
            due = now >= step.due
            step.due = now + max(LOG_SECONDS, now - step.began) if due else step.due
            return due
        share = self._share()
        part = self._part + 1 if share is None else int(share * LOG_LINES)
        if waited < LOG_SECONDS or part == self._part:
            return False
        self._part = part
        return True

    def _show(self) -> None:
        if self._quiet:
            return
        now = self._shown = time.monotonic()
        if self._bar is None:
            print(self._line(now), file=sys.stderr, flush=True)
        else:
            share = self._share()
            total = None if share is None else 1
            self._bar.update(self._bar.task_ids[0], description=self._line(now), completed=share or 0, total=total)

    def _share(self) -> float | None:
        """The finished share of the work in [0, 1]; None where the end is not known."""
        if self._share_left is not None:
            return min(1.0, self._share_left[0])
        return min(1.0, self._done / self._total) if self._total else None

    def _line(self, now: float, ends: bool = False) -> str:
        elapsed = max(now - self._start, 1e-9)
        rate = (self._done - self._first) / elapsed
        unit = self._unit.removesuffix("s") if (self._total or self._done) == 1 else self._unit
        text = f"{self._step.name}{self._done:,}{f'/{self._total:,}' if self._total else ''} {unit}, {rate:,.1f}/s"
        if self._share_left is not None and not ends:
            share, left = self._share_left
            text += f", {share:.0%}, ETA {duration(left)}"
        elif self._total and rate > 0 and not ends:
            text += f", ETA {duration(max(0, self._total - self._done) / rate)}"
        return f"{text}, {self.note}" if self.note else text


def _bar(console: Any) -> Any:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    bar = Progress(
        BarColumn(), TextColumn("{task.description}", markup=False),
        console=console or Console(stderr=True), transient=True,
    )
    bar.add_task("", total=None)
    return bar
