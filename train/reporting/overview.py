"""The lead of a report: which studies ran, and the paper's claims beside what this run measured."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from ...runtime.core.text import terminal_width
from .published import Claim, claims
from .result import StudyResult
from .tables import Table, wrapped

NO_FIGURES = "no published figure"
FAILED = "could not run"


@dataclass(frozen=True)
class Line:
    """A line of the overview.

    Attributes:
        result: of the study.
        claim: the figures; None where the paper publishes none or the study failed.
    """

    result: StudyResult
    claim: Claim | None = None


@dataclass(frozen=True)
class Card:
    """A figure of the lead.

    Attributes:
        value: the figure.
        label: its name.
        note: what it stands beside.
        bad: whether something failed.
    """

    value: str
    label: str
    note: str
    bad: bool = False


@dataclass(frozen=True)
class Overview:
    """The lead of a report.

    Attributes:
        cards: the main figures.
        lines: a line for each claim, and for each study without one, in the report's order.
        ran: how many studies ran, and which did not.
    """

    cards: tuple[Card, ...]
    lines: tuple[Line, ...]
    ran: str

    @classmethod
    def of(cls, results: Sequence[StudyResult], trained: Sequence[str]) -> Overview:
        """Collect the claims of all results; `trained` are the generators trained on."""
        lines: list[Line] = []
        for result in results:
            own = [Line(result, claim) for claim in claims(result, trained)]
            lines += own if own and not result.error else [Line(result)]
        failed = [result.title for result in results if result.error]
        studies = f"{len(results) - len(failed)} of {len(results)}"
        ran = f"{studies} studies ran" + (f"; these could not: {', '.join(failed)}." if failed else ".")
        last = Card(studies, "studies ran", f"{len(failed)} could not" if failed else "none failed", bool(failed))
        return cls((*_main_cards(lines), *_control_card(results), last), tuple(lines), ran)

    def terminal(self) -> str:
        """The lines as a table as wide as the terminal, by the studies' names; below it, why studies could not run."""
        table, width = self.table(), terminal_width()
        rows = tuple((line.result.name, FAILED if line.result.error else row[1], *row[2:])
                     for row, line in zip(table.rows, self.lines, strict=True))
        failed = [line.result for line in self.lines if line.result.error]
        below = [wrapped(text, width) for text in (*(f"{r.title} {FAILED}: {r.error}" for r in failed), self.ran)]
        return "\n".join([replace(table, rows=rows).terminal(), *below])

    def table(self) -> Table:
        """The lines as a table of texts; a study that could not run has its reason in the place of the figure."""
        rows = []
        for line in self.lines:
            said = f"{FAILED}: {line.result.error}" if line.result.error else NO_FIGURES
            figure, cells = (line.claim.text, line.claim.cells) if line.claim else (said, ("",) * 4)
            rows.append((line.result.title, figure, *cells))
        columns = ("study", "figure", "source", "paper", "here", "difference")
        note = "points: a difference of two percentages. The difference is this run's figure less the paper's."
        return Table("overview", "The paper's figures beside this run's", columns, tuple(rows), note)


def _main_cards(lines: Sequence[Line]) -> list[Card]:
    """mAcc and mAUC beside the paper's."""
    shown = [line.claim for line in lines if line.result.name == "main" and line.claim]
    return [
        Card(claim.show(claim.here), claim.text, f"paper {claim.show(claim.paper)}, difference {claim.cells[3]}")
        for claim in shown
    ]


def _control_card(results: Sequence[StudyResult]) -> list[Card]:
    """The mean AUC of the best control beside the detector's; none where the controls did not run."""
    for result in results:
        if result.name == "controls" and not result.error:
            table = result.tables[0]
            column = table.columns.index("mAUC")
            detector, *controls = ((float(row[column] or math.nan), str(row[0])) for row in table.rows)
            best, name = max(controls)
            return [Card(f"{100 * (detector[0] - best):+.1f} points", "mAUC over the best control",
                         f"{name} {100 * best:.1f} %, the detector {100 * detector[0]:.1f} %")]
    return []
