"""The lead of a report: which studies ran, and the paper's claims beside this run's figures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from ...runtime.core.text import terminal_width
from .claims import Claim, claims
from .estimate import difference
from .published import number, published_for
from .result import StudyResult
from .tables import Table, wrapped

NO_FIGURES = "no published figure"
FAILED = "could not run"
LOGISTIC_HEAD = "logistic head"
"""The row of the head that reads what the detector reads; it is no control."""


@dataclass(frozen=True)
class Card:
    """A figure of the lead, its name, and what it stands beside; `bad`: something failed."""

    value: str
    label: str
    note: str
    bad: bool = False


@dataclass(frozen=True)
class Overview:
    """The lead of a report.

    Attributes:
        results: of all studies, in the report's order.
        trained: the generators trained on.
    """

    results: tuple[StudyResult, ...]
    trained: tuple[str, ...]

    @cached_property
    def lines(self) -> tuple[tuple[StudyResult, Claim | None], ...]:
        """Each claim after its study; None for a study that failed, or of which the paper publishes no figure."""
        lines: list[tuple[StudyResult, Claim | None]] = []
        for result in self.results:
            own = [] if result.error else claims(result, self.trained)
            lines += [(result, claim) for claim in own] or [(result, None)]
        return tuple(lines)

    @property
    def ran(self) -> str:
        """How many studies ran, and which did not."""
        failed = [result.title for result in self.results if result.error]
        counts = [f"{_done(group)} studies {word} a published figure ran"
                  for word, group in zip(("with", "without"), self._groups, strict=True) if group]
        return "; ".join(counts + [f"these could not: {', '.join(failed)}"] * bool(failed)) + "."

    @property
    def _groups(self) -> tuple[list[StudyResult], list[StudyResult]]:
        """The studies with and without a published figure: only the first are a comparison with the paper."""
        published = [bool(published_for(result.name, self.trained)) for result in self.results]
        pairs = list(zip(self.results, published, strict=True))
        return [result for result, has in pairs if has], [result for result, has in pairs if not has]

    @property
    def cards(self) -> tuple[Card, ...]:
        """mAcc and mAUC beside the paper's, the detector beside the best control, how many published studies ran."""
        cards = [
            Card(claim.show(float(claim.here)), claim.text, claim.beside)
            for result, claim in self.lines if result.name == "main" and claim
        ]
        for result in self.results:
            if result.name == "controls" and not result.error:
                table = result.tables[0]
                column = table.columns.index("mAUC")
                rows = (row for row in table.rows if row[0] != LOGISTIC_HEAD)
                detector, *controls = ((number(row[column]), str(row[0])) for row in rows)
                best, name = max(controls)
                ahead = difference(detector[0], best).scaled(100)
                spread = f"{ahead.low:+.1f} to {ahead.high:+.1f}; " if math.isfinite(ahead.low) else ""
                cards.append(Card(f"{float(ahead):+.1f} points", "mAUC over the best control",
                                  f"{spread}{name} {100 * best:.1f} %, the detector {100 * detector[0]:.1f} %"))
        failed = sum(bool(result.error) for result in self.results)
        note = f"{failed} could not" if failed else "none failed"
        return (*cards, Card(_done(self._groups[0]), "studies with a published figure ran", note, bool(failed)))

    def terminal(self) -> str:
        """The lines as a table as wide as the terminal, by the studies' names; below it, why studies could not run."""
        table, width = self.table(), terminal_width()
        rows = tuple((result.name, FAILED if result.error else row[1], *row[2:])
                     for row, (result, _) in zip(table.rows, self.lines, strict=True))
        failed = [result for result in self.results if result.error]
        below = [wrapped(text, width) for text in (*(f"{r.title} {FAILED}: {r.error}" for r in failed), self.ran)]
        return "\n".join([replace(table, rows=rows).terminal(), *below])

    def table(self) -> Table:
        """The lines as a table of texts; a study that could not run has its reason in the place of the figure."""
        rows = []
        for result, claim in self.lines:
            said = f"{FAILED}: {result.error}" if result.error else NO_FIGURES
            rows.append((result.title, *((claim.text, *claim.cells) if claim else (said, "", "", "", ""))))
        columns = ("study", "figure", "source", "paper", "here", "difference")
        note = (
            "points: a difference of two percentages. The difference is this run's figure less the paper's; – where "
            "the two are means over other generators. [low, high]: 95 % interval for other images and other seeds, not "
            "for other generators."
        )
        return Table("overview", "The paper's figures beside this run's", columns, tuple(rows), note)


def _done(results: Sequence[StudyResult]) -> str:
    """How many of some studies ran, as "2 of 3"."""
    return f"{sum(not result.error for result in results)} of {len(results)}"
