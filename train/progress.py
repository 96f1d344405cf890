"""Progress on stderr: rate and time left; one updating line on a terminal, a line a minute elsewhere."""

from __future__ import annotations

import sys
import time


def duration(seconds: float) -> str:
    """h:mm:ss."""
    minutes, s = divmod(int(seconds), 60)
    h, m = divmod(minutes, 60)
    return f"{h}:{m:02d}:{s:02d}"


class Rate:
    """Counts items against a total (None when unknown) and prints items/s and the estimated time left."""

    def __init__(self, total: int | None, unit: str, done: int = 0, quiet: bool = False) -> None:
        self.total, self.unit, self.done, self.quiet = total, unit, done, quiet
        self.first = done
        self.start = time.monotonic()
        self.terminal = sys.stderr.isatty()
        self.shown = self.start

    def advance(self, items: int, note: str = "", fraction: float | None = None) -> None:
        """Count `items`; `fraction` in [0, 1] replaces done / total where something else sets the end, such as time."""
        self.done += items
        now = time.monotonic()
        if self.quiet or now - self.shown < (0.2 if self.terminal else 60):
            return
        self.shown = now
        self._print(note, fraction, now)

    def close(self, note: str = "") -> None:
        """Print the last line."""
        if not self.quiet:
            self._print(note, None, time.monotonic())
            if self.terminal:
                print(file=sys.stderr)

    def _print(self, note: str, fraction: float | None, now: float) -> None:
        elapsed = now - self.start
        rate = (self.done - self.first) / elapsed if elapsed > 0 else 0.0
        text = f"{self.done:,}{f'/{self.total:,}' if self.total else ''} {self.unit}, {rate:.1f} {self.unit}/s"
        if fraction is not None and fraction > 0:
            text += f", {fraction:.0%}, ETA {duration(elapsed * (1 - fraction) / fraction)}"
        elif self.total and rate > 0:
            text += f", ETA {duration(max(0, self.total - self.done) / rate)}"
        end = "" if self.terminal else "\n"
        lead = "\r\x1b[K" if self.terminal else ""
        print(f"{lead}{text}{', ' + note if note else ''}", end=end, file=sys.stderr, flush=True)
