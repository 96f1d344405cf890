"""The paper's claims beside this run's figures: the lines of the overview."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from .estimate import Estimate
from .published import COMMON, MEAN, published_for, sides
from .result import StudyResult
from .tables import Table


@dataclass(frozen=True)
class Claim:
    """One published figure beside the figure measured here.

    Attributes:
        text: the figure in words.
        source: its number in the paper.
        paper: as published, in `unit`.
        here: as measured; NaN where it was not.
        comparable: whether both are of the same generators.
        unit: "%", "points" for a difference of percentages, or "".
        bound: "<" where the paper publishes an upper bound.
    """

    text: str
    source: str
    paper: float
    here: Estimate
    unit: str
    bound: str = ""
    comparable: bool = True

    def show(self, value: float) -> str:
        """A value as text with its unit, and its interval if it has one; differences have a sign."""
        if math.isnan(value):
            return "–"
        sign = "+" if self.unit == "points" else ""
        text = f"{float(value):{sign}.2f}{' ' * bool(self.unit)}{self.unit}"
        if not isinstance(value, Estimate) or math.isnan(value.low):
            return text
        return f"{text} [{value.low:{sign}.2f}, {value.high:{sign}.2f}]"

    @property
    def difference(self) -> str:
        """The figure here less the paper's, as text."""
        apart = float(self.here) - self.paper
        return f"{apart:+.2f}" if self.comparable and not math.isnan(apart) else "–"

    @property
    def beside(self) -> str:
        """The interval here, the paper's figure and the difference, in words."""
        unit = f"{' ' * bool(self.unit)}{self.unit}"
        spread = "" if math.isnan(self.here.low) else f"{self.here.low:.2f} to {self.here.high:.2f}{unit}; "
        same = f", difference {self.difference}" if self.comparable else ", of other generators"
        return f"{spread}paper {self.show(self.paper)}{same}"

    @property
    def cells(self) -> tuple[str, str, str, str]:
        """Source, paper, here and difference, as text."""
        return self.source, self.bound + self.show(self.paper), self.show(self.here), self.difference


def claims(result: StudyResult, trained: Sequence[str]) -> list[Claim]:
    """The study's lines of the overview."""
    shown = []
    for one in published_for(result.name, trained):
        paper, here = sides(one, result)
        table, same = one.own(result), one.comparable(result)
        seeds = _seeds(table) if table is not None else ""
        for claim in one.claims:
            column, row, less = claim["column"], claim["row"], claim.get("less")
            place, text = one.columns.index(column), claim["text"]
            if one.per_generator and row == MEAN and COMMON in paper:
                row, same = COMMON, True
                count = len(one.common(result))
                text += f", {count} generator{'s' * (count != 1)} in both"
            theirs = paper[row][place] - (paper[less][place] if less else 0.0)
            ours = one.less(result, row, less, column) if less else here[row][place]
            shown.append(Claim(f"{text}{seeds}", one.source, theirs, ours, unit="points" if less else one.unit,
                               bound=one.bound, comparable=same))
    return shown


def _seeds(table: Table) -> str:
    """The number of seeds in words, where the table has it."""
    if "seeds" not in table.columns:
        return ""
    most = max(int(row[table.columns.index("seeds")] or 0) for row in table.rows)
    return f" ({most} seed{'s' * (most != 1)})"
