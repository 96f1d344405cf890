"""The table of a run on a terminal: one row a record, codes for reasons, and one legend at the end."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from ..core.text import display_name, hanging, printable
from ..evidence.fact import declares_ai
from ..scoring.reading import CONTRADICTION, CONTRARY, legend, next_steps, next_words
from ..scoring.reasons import TEXTS
from ..scoring.record import Record
from ..scoring.run import Run
from .kinds import is_glob

STYLES = {"ai": "bold red", "real": "green", "uncertain": "yellow", "error": "magenta"}
INDENT = 40
"""Width of the columns before the input's name."""
NOTES = 11
"""Columns before what stands below a row."""
_UNDECIDED = f"{TEXTS['band']}; {next_words(next_steps('uncertain', is_contradicted=False, is_declared=False))}"
LEGEND = {"declared": CONTRADICTION} | TEXTS | {"band": _UNDECIDED, "prior": CONTRARY}
"""Code -> sentence; a value that differs between images is left open."""


def shared_folder(inputs: Sequence[str]) -> str:
    """The folder in which all records of some inputs lie, with a separator at its end; empty where there is none."""
    if any(name == "-" or name.startswith("@") or "://" in name or is_glob(name) for name in inputs):
        return ""
    try:
        folder = os.path.commonpath([name if os.path.isdir(name) else os.path.dirname(name) for name in inputs])
    except ValueError:  # no inputs, or absolute and relative ones
        return ""
    return os.path.join(folder, "")


class TableWriter:
    """A table on the terminal, on the console that the progress bar uses too. Lines end between words.

    Only a name longer than a line is left to the terminal to break, so that it can be copied as one piece.
    """

    def __init__(self, console: Any, run: Run, folder: str = "") -> None:
        """Print nothing yet.

        Args:
            console: of rich.
            run: that makes the records.
            folder: the heading names it, so that the rows do not.
        """
        self._console, self._run, self._folder = console, run, printable(display_name(folder))
        self._rows = self._scored = 0
        self._codes: set[str] = set()

    def write(self, record: Record) -> None:
        """Print one row, and below it what has no code: an error, facts of the file."""
        from rich.text import Text

        if not self._rows:
            head = f"{'verdict':<10} {'ratio':<20}  {'P(AI)':>5}  input"
            where = f" in {self._folder}" if self._folder else ""
            if len(head) + len(where) > self._console.width:
                self._print(Text(f"inputs{where}", style="bold"))
                where = ""
            self._print(Text(head + where, style="bold"))
        self._rows += 1
        self._scored += record.verdict is not None
        word = record.verdict or "error"
        probability = "" if record.probability is None else f"{record.probability:.1%}"
        against = record.contradictions
        style = STYLES["uncertain" if against else word]
        name, reasons = printable(record.path).removeprefix(self._folder), record.reasons
        codes = [*(reason.code for reason in reasons if reason.code != "unseen"), *against]
        self._codes.update(codes)
        ratio = record.likelihood_ratio.interval if record.likelihood_ratio else ""
        line = Text.assemble((f"{word:<10}", style), f" {ratio:<20} {probability:>6}  ")
        below = [reason.text for reason in reasons if reason.code == "unseen"]
        short = f"[{' '.join(codes)}]" if codes else ""
        fits = self._console.width - INDENT - len(name)
        first, second = (name, short) if fits >= 0 else ("", short)
        if second and self._console.width >= INDENT + len(first) + 2 + len(second):
            first, second = f"{first}  {second}".strip(), ""
        row = Text.assemble(line, first)
        row.stylize("dim", INDENT + len(name)) if fits >= 0 else row.stylize("dim", INDENT)
        self._print(row)
        if fits < 0:  # on a line of its own
            self._print(Text(f"  {name}"))
        facts = [fact.statement for fact in record.evidence if fact.kind != "jpeg_quality"]
        for note in (*facts, second, *below, record.error and record.error.text):
            if note:
                self._note(printable(note), NOTES)

    def finish(self) -> None:
        """Print the legend: of the verdicts, and of the codes that were used."""
        for line in legend(self._run) if self._scored else ():
            self._note(line, hanging_by=2)
        for code in LEGEND:
            if code in self._codes:
                self._note(f"{code:<8} {re.sub(r'{[^}]*}', 'N', LEGEND[code])}", hanging_by=9)

    def _note(self, text: str, indent: int = 0, hanging_by: int = 0) -> None:
        """Print a dim text, with a new line only between words."""
        from rich.text import Text

        self._print(Text(hanging(" " * indent + text, indent + hanging_by, self._console.width), style="dim"))

    def _print(self, text: Any) -> None:
        self._console.print(text, soft_wrap=True, highlight=False)


def suspicion(record: Record) -> tuple[bool, float]:
    """A key that puts files that declare AI first, then high scores, and what has no score last."""
    return not declares_ai(record.evidence), math.inf if record.logit is None else -record.logit


class SortedTable:
    """The table of `--sort`: keeps records, without their anomaly maps, and prints them in order at the end."""

    def __init__(self, table: TableWriter, sort: str) -> None:
        self._table, self._key = table, suspicion if sort == "suspicion" else lambda record: record.path
        self._records: list[Record] = []

    def write(self, record: Record) -> None:
        """Keep one record."""
        self._records.append(replace(record, lcas=None))

    def finish(self) -> None:
        """Print all records."""
        for record in sorted(self._records, key=self._key):
            self._table.write(record)
        self._table.finish()


@contextmanager
def sorted_table(table: TableWriter, sort: str) -> Iterator[SortedTable]:
    """A `SortedTable`, which an interrupted run prints as well."""
    kept = SortedTable(table, sort)
    try:
        yield kept
    except BaseException:
        kept.finish()
        raise
