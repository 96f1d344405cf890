"""The table of a run on a terminal: one row a record, codes for reasons, and their legend at the end."""

from __future__ import annotations

import re
from typing import Any

from ..core.text import printable
from ..scoring.reading import CONTRADICTION, CONTRARY, legend
from ..scoring.reasons import TEXTS
from ..scoring.record import Record
from ..scoring.run import Run

STYLES = {"ai": "bold red", "real": "green", "uncertain": "yellow", "error": "magenta"}
SCREEN = 24
"""Rows after which the words on verdicts have scrolled away; they are then printed again at the end."""
INDENT = 40
"""Width of the columns before the input's name."""
NOTES = 11
"""Columns before what stands below a row."""
LEGEND = {"declared": CONTRADICTION} | TEXTS | {"prior": CONTRARY}
"""Code -> sentence; a value that differs between images is left open."""


class TableWriter:
    """A table on the terminal, on the console that the progress bar uses too. Lines end between words.

    Only a name longer than a line is left to the terminal to break, so that it can be copied as one piece.
    """

    def __init__(self, console: Any, run: Run) -> None:
        self._console = console
        self._run = run
        self._rows = 0
        self._codes: set[str] = set()

    def write(self, record: Record) -> None:
        """Print one row, and below it what has no code: an error, facts of the file."""
        from rich.text import Text

        if not self._rows:
            self._verdicts()
            self._print(Text(f"{'verdict':<10} {'ratio':<20}  {'P(AI)':>5}  input", style="bold"))
        self._rows += 1
        word = record.verdict or "error"
        probability = "" if record.probability is None else f"{record.probability:.1%}"
        against = record.contradictions
        style = STYLES["uncertain" if against else word]
        name, reasons = printable(record.path), record.reasons
        codes = [*(reason.code for reason in reasons if reason.code != "unseen"), *against]
        self._codes.update(codes)
        ratio = record.likelihood_ratio.interval if record.likelihood_ratio else ""
        line = Text.assemble((f"{word:<10}", style), f" {ratio:<20} {probability:>6}  ")
        below = [reason.text for reason in reasons if reason.code == "unseen"]
        short = f"[{' '.join(codes)}]" if codes else ""
        room = self._console.width - INDENT - len(name)
        if room < 0:  # on a line of its own
            self._print(line)
            self._print(Text(f"  {name}"))
        elif short and room >= len(short) + 2:
            self._print(Text.assemble(line, name, (f"  {short}", "dim")))
            short = ""
        else:
            self._print(Text.assemble(line, name))
        facts = [fact.statement for fact in record.evidence if fact.kind != "jpeg_quality"]
        for note in (*facts, short, *below, record.error and record.error.text):
            if note:
                self._note(printable(note))

    def finish(self) -> None:
        """Print the legend of the codes that were used; below a long table also that of the verdicts."""
        for code in LEGEND:
            if code in self._codes:
                self._note(f"{code:<8} {re.sub(r'{[^}]*}', 'N', LEGEND[code])}", indent=0, hanging=9)
        if self._rows > SCREEN:
            self._verdicts()

    def abort(self) -> None:
        """Every row is printed already."""

    def _verdicts(self) -> None:
        for line in legend(self._run):
            self._note(line, indent=0)

    def _note(self, text: str, indent: int = NOTES, hanging: int = 0) -> None:
        """Print a dim text, with a new line only between words."""
        from textwrap import wrap

        from rich.text import Text

        lines = wrap(
            text, max(self._console.width, indent + 20), initial_indent=" " * indent,
            subsequent_indent=" " * (indent + hanging), break_long_words=False, break_on_hyphens=False,
        )
        for line in lines:
            self._print(Text(line, style="dim"))

    def _print(self, text: Any) -> None:
        self._console.print(text, soft_wrap=True, highlight=False)
