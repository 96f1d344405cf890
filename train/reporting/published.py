"""The paper's published figures beside those of a study, with the difference; the figures are in published.json."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files

from ..data.generators import canonical
from .result import StudyResult
from .tables import Cell, Table

MEAN = "mean"
COMMON = "mean of the generators in both"


@dataclass(frozen=True)
class Published:
    """A published table, or figures from the paper's text.

    Attributes:
        source: its number in the paper.
        study: name of the study that repeats it.
        table: name of that study's table.
        setting: how the paper measured it.
        columns: the study's columns that have published figures.
        rows: label and figures of each row, in `unit`.
        claims: figures, or differences of two, that the overview shows: text, row, column and, for a difference, less.
        match: regular expression of the study's row, by label; a row that is not here has the same label, or generator.
        benchmark: the benchmark that the figures are of, where another one has a table of its own; "" for any.
        unit: "%" or "" for plain numbers.
        bound: "<" where the paper publishes an upper bound.
    """

    source: str
    study: str
    table: str
    setting: str
    columns: tuple[str, ...]
    rows: dict[str, tuple[float, ...]]
    claims: list[dict[str, str]]
    match: dict[str, str] = field(default_factory=dict)
    benchmark: str = ""
    unit: str = "%"
    bound: str = ""

    def here(self, result: StudyResult) -> dict[str, tuple[float, ...]]:
        """The study's figures in `unit`, as wide as `columns`, by the label of each row; NaN where there is none."""
        missing = (math.nan,) * len(self.columns)
        table = next((table for table in result.tables if table.name == self.table), None)
        if table is None:
            return dict.fromkeys(self.rows, missing)
        places = [table.columns.index(column) for column in self.columns]
        scale = 100.0 if self.unit == "%" else 1.0
        labels = [_label(row) for row in table.rows]
        found = {}
        for name in self.rows:
            row = next((row for label, row in zip(labels, table.rows, strict=True) if self._is(label, name)), None)
            found[name] = missing if row is None else tuple(scale * _number(row[i]) for i in places)
        return found

    def _is(self, label: str, name: str) -> bool:
        if name in self.match:
            return re.search(self.match[name], label, re.IGNORECASE) is not None
        return label.endswith(f", {name}") or canonical(label) == canonical(name)


@dataclass(frozen=True)
class Claim:
    """One published figure beside the figure measured here.

    Attributes:
        text: the figure in words.
        source: its number in the paper.
        paper: as published, in `unit`.
        here: as measured; NaN where it was not.
        unit: "%", "points" for a difference of percentages, or "".
        bound: "<" where the paper publishes an upper bound.
    """

    text: str
    source: str
    paper: float
    here: float
    unit: str
    bound: str = ""

    def show(self, value: float) -> str:
        """A value as text with its unit; differences have a sign."""
        sign = "+" if self.unit == "points" else ""
        return "–" if math.isnan(value) else f"{value:{sign}.2f}{' ' * bool(self.unit)}{self.unit}"

    @property
    def cells(self) -> tuple[str, str, str, str]:
        """Source, paper, here and difference, as text."""
        difference = self.here - self.paper
        apart = "–" if math.isnan(difference) else f"{difference:+.2f}"
        return self.source, self.bound + self.show(self.paper), self.show(self.here), apart


@cache
def published() -> tuple[Published, ...]:
    """All published figures, in the order of the studies."""
    found = []
    for record in json.loads((files(__package__) / "published.json").read_text(encoding="utf-8")):
        rows = {name: tuple(map(float, values)) for name, *values in record.pop("rows")}
        found.append(Published(rows=rows, columns=tuple(record.pop("columns")), **record))
    return tuple(found)


def benchmark_of(trained: Sequence[str]) -> str:
    """The paper's benchmark for a detector that was trained on some generators."""
    return "AIGCDetectBenchmark" if "progan" in map(canonical, trained) else "GenImage"


def published_for(study: str, trained: Sequence[str]) -> list[Published]:
    """The published figures of a study, of the benchmark that fits the generators trained on."""
    fitting = ("", benchmark_of(trained))
    return [one for one in published() if one.study == study and one.benchmark in fitting]


def beside(result: StudyResult, trained: Sequence[str]) -> tuple[Table, ...]:
    """Tables of the published figures, those of the study and their differences."""
    return tuple(_beside(one, result, trained) for one in published_for(result.name, trained))


def _beside(one: Published, result: StudyResult, trained: Sequence[str]) -> Table:
    here, paper = one.here(result), dict(one.rows)
    common = [name for name in paper if name != MEAN and not math.isnan(here[name][0])]
    if MEAN in paper and common:
        for side in (paper, here):
            both = zip(*(side[name] for name in common), strict=True)
            side[COMMON] = tuple(sum(values) / len(common) for values in both)
    rows: list[tuple[Cell, ...]] = [
        (name, *(cell for p, h in zip(values, here[name], strict=True) for cell in (p, h, h - p)))
        for name, values in paper.items()
    ]
    columns = [f"{column}, {part}" for column in one.columns for part in ("paper", "here", "difference")]
    name = re.sub(r"\W+", "_", one.source.lower()).strip("_")
    unit = f"In {one.unit}. " if one.unit else ""
    bound = "The paper gives an upper bound. " if one.bound else ""
    note = f"{unit}{bound}Paper: {one.setting}. Here: trained on {', '.join(trained)}."
    if MEAN in paper:
        note += " mean: over the generators of each."
    first = next((table.columns[0] for table in result.tables if table.name == one.table), "row")
    title = f"{one.source} of the paper beside this run"
    signed = tuple(columns[2::3])
    return Table(f"{name}_beside", title, (first, *columns), tuple(rows), note=note, digits=2, signed=signed)


def claims(result: StudyResult, trained: Sequence[str]) -> list[Claim]:
    """The study's lines of the overview."""
    shown = []
    for one in published_for(result.name, trained):
        here = one.here(result)
        for claim in one.claims:
            place, less = one.columns.index(claim["column"]), claim.get("less")
            paper, ours = (
                side[claim["row"]][place] - (side[less][place] if less else 0.0) for side in (one.rows, here)
            )
            unit = "points" if less else one.unit
            shown.append(Claim(claim["text"], one.source, paper, ours, unit=unit, bound=one.bound))
    return shown


def _label(row: Sequence[Cell]) -> str:
    """The leading texts of a row: "sd, chameleon"."""
    texts = []
    for cell in row:
        if not isinstance(cell, str):
            break
        texts.append(cell)
    return ", ".join(texts)


def _number(cell: Cell) -> float:
    return float(cell) if isinstance(cell, (int, float)) else math.nan
