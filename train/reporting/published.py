"""The paper's published figures beside those of a study, with the difference; the figures are in published.json."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files

from ..data.generators import UNVERSIONED, canonical, in_both
from .estimate import Estimate, difference, mean_of
from .result import StudyResult
from .tables import Cell, Table

MEAN = "mean"
COMMON = "mean of the generators in both"
COMMON_TABLE = "_common"
"""Suffix of the table whose means are over `paper_generators` alone; without it, those of the study's own table are."""
REPORTED = " †"
"""Behind the name of a generator that is only reported: no mean is over it."""


OTHERS = "–: the means are not over the same generators."
UNKNOWN = "Midjourney: which version the images here are of is not known."


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
        over: the benchmark over whose generators the figures are means; "" where they are no such means.
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
    over: str = ""
    unit: str = "%"
    bound: str = ""

    def here(self, result: StudyResult) -> dict[str, tuple[Estimate, ...]]:
        """The study's figures in `unit`, as wide as `columns`, by the label of each row; NaN where there is none."""
        missing = (Estimate(math.nan),) * len(self.columns)
        table = self.own(result)
        if table is None:
            return dict.fromkeys(self.rows, missing)
        return {name: self.cells(table, name) or missing for name in self.rows}

    def cells(self, table: Table, name: str) -> tuple[Estimate, ...]:
        """The figures of a row in `unit`, as wide as `columns`; () where the table has no such row."""
        scale = 100.0 if self.unit == "%" else 1.0
        row = next((row for row in table.rows if self._is(_label(row), name)), None)
        return () if row is None else tuple(number(row[table.columns.index(c)]).scaled(scale) for c in self.columns)

    def own(self, result: StudyResult) -> Table | None:
        """The study's table, over the paper's generators where there is such a table."""
        tables = {table.name: table for table in result.tables}
        return tables.get(f"{self.table}{COMMON_TABLE}", tables.get(self.table))

    def common(self, result: StudyResult) -> list[str]:
        """The generators of both, as the paper spells them, where rows are generators; without those only reported."""
        table, here = self.own(result), self.here(result)
        apart = {canonical(str(row[0])) for row in table.rows if str(row[0]).endswith(REPORTED)} if table else set()
        there = [name for name, values in here.items()
                 if name != MEAN and not math.isnan(values[0]) and canonical(name) not in apart]
        both = in_both(self.rows.keys() - {MEAN}, there)
        return [name for name in there if canonical(name) in both]

    def comparable(self, result: StudyResult) -> bool:
        """Whether the study's means are over all generators that the paper's means are over."""
        table = self.own(result)
        if not self.over or table is None:
            return not self.over
        names = (*table.columns, *(str(row[0]) for row in table.rows))
        there = {canonical(name.removeprefix("AUC ")) for name in names if not name.endswith(REPORTED)}
        return {canonical(name) for name in paper_generators(self.over)} <= there

    def less(self, result: StudyResult, row: str, reference: str, column: str) -> Estimate:
        """A figure of one row less that of another, in points.

        Where the study's table has this difference in a column of its own, the interval is that of the same images.
        """
        table, here, place = self.own(result), self.here(result), self.columns.index(column)
        ours, theirs = here[row][place], here[reference][place]
        names = table.columns if table else ()
        paired = [i for i, name in enumerate(names) if name.startswith(f"{column} less ")]
        if table is None or not paired or math.isnan(ours) or math.isnan(theirs):
            return difference(ours, theirs)
        of_row, of_reference = (
            next(number(one[paired[0]]).scaled(100) for one in table.rows if self._is(_label(one), name))
            for name in (row, reference)
        )
        if math.isnan(of_reference) and not math.isnan(of_row):
            return of_row
        if math.isnan(of_row) and not math.isnan(of_reference):
            return Estimate(0.0 - of_reference, -of_reference.high, -of_reference.low)
        return difference(ours, theirs)

    @property
    def per_generator(self) -> bool:
        """Whether the rows are generators, with their mean."""
        return MEAN in self.rows and len(self.rows) > 1

    def _is(self, label: str, name: str) -> bool:
        if name in self.match:
            return re.search(self.match[name], label, re.IGNORECASE) is not None
        return label.endswith(f", {name}") or canonical(label) == canonical(name)


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


def paper_generators(benchmark: str) -> tuple[str, ...]:
    """The generators of one of the paper's benchmarks, as the paper spells them."""
    table = next(one for one in published() if one.benchmark == benchmark and MEAN in one.rows and len(one.rows) > 1)
    return tuple(name for name in table.rows if name != MEAN)


def common_generators(names: Sequence[str], trained: Sequence[str]) -> list[str]:
    """Those of `names` that the paper's benchmark for a detector trained on `trained` has too."""
    both = in_both(paper_generators(benchmark_of(trained)), names)
    return [name for name in names if canonical(name) in both]


def published_for(study: str, trained: Sequence[str]) -> list[Published]:
    """The published figures of a study, of the benchmark that fits the generators trained on."""
    fitting = ("", benchmark_of(trained))
    return [one for one in published() if one.study == study and one.benchmark in fitting]


def beside(result: StudyResult, trained: Sequence[str]) -> tuple[Table, ...]:
    """Tables of the published figures, those of the study and their differences."""
    return tuple(_beside(one, result, trained) for one in published_for(result.name, trained))


def _beside(one: Published, result: StudyResult, trained: Sequence[str]) -> Table:
    paper, here = sides(one, result)
    same = one.comparable(result)
    apart = () if same else (MEAN, *(name for name in paper if canonical(name) in UNVERSIONED))
    rows: list[tuple[Cell, ...]] = [
        (name, *(cell for p, h in zip(values, here[name], strict=True)
                 for cell in (p, h, float(h) - p if same or (one.per_generator and name not in apart) else None)))
        for name, values in paper.items()
    ]
    columns = [f"{column}, {part}" for column in one.columns for part in ("paper", "here", "difference")]
    name = re.sub(r"\W+", "_", one.source.lower()).strip("_")
    unit = f"In {one.unit}. " if one.unit else ""
    bound = "The paper gives an upper bound. " if one.bound else ""
    note = f"{unit}{bound}Paper: {one.setting}. Here: trained on {', '.join(trained)}."
    if MEAN in paper:
        note += " mean: over the generators of each."
    if not same:
        note += f" {OTHERS}{f' {UNKNOWN}' * one.per_generator}"
    first = next((table.columns[0] for table in result.tables if table.name == one.table), "row")
    title = f"{one.source} of the paper beside this run"
    signed = tuple(columns[2::3])
    return Table(f"{name}_beside", title, (first, *columns), tuple(rows), note=note, digits=2, signed=signed)


def sides(one: Published, result: StudyResult) -> tuple[dict[str, tuple[float, ...]], dict[str, tuple[Estimate, ...]]]:
    """The paper's figures and those here by row; with `COMMON`, where the paper has the figures of every generator."""
    here, paper, table = one.here(result), dict(one.rows), one.own(result)
    if MEAN not in paper or table is None:
        return paper, here
    own = one.cells(table, COMMON)
    if not one.per_generator:
        return paper, {MEAN: own or here[MEAN]}
    if common := one.common(result):
        theirs, ours = (zip(*(side[name] for name in common), strict=True) for side in (paper, here))
        paper[COMMON] = tuple(sum(values) / len(common) for values in theirs)
        here[COMMON] = own or tuple(map(mean_of, ours))
    return paper, here


def _label(row: Sequence[Cell]) -> str:
    """The leading texts of a row: "sd, chameleon"."""
    texts = []
    for cell in row:
        if not isinstance(cell, str):
            break
        texts.append(cell)
    return ", ".join(texts)


def number(cell: Cell) -> Estimate:
    """A cell as a figure, NaN where it is none."""
    if isinstance(cell, Estimate):
        return cell
    return Estimate(cell if isinstance(cell, (int, float)) else math.nan)
