"""Result tables: one object, shown on a terminal and written as JSON, CSV, Markdown and, in reports, HTML."""

from __future__ import annotations

import csv
import io
import json
import math
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...runtime.core.files import write_text
from ...runtime.core.text import terminal_width
from .estimate import Estimate

Cell = str | int | float | None
MISSING = "–"


@dataclass(frozen=True)
class Table:
    """A table with named columns.

    Attributes:
        name: stem of the files that `write` makes.
        title: heading in Markdown and HTML.
        columns: names of the columns, all different.
        rows: one tuple for each row, as long as `columns`; a cell that does not exist is None or NaN.
        note: explanation below the table, plain text.
        digits: decimals of every float where people read it; JSON and CSV keep the full value.
        signed: columns of differences, whose floats show their sign.
    """

    name: str
    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    note: str = ""
    digits: int = 3
    signed: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if len(set(self.columns)) != len(self.columns) or any(len(row) != len(self.columns) for row in self.rows):
            raise ValueError(f"table {self.name}: columns must differ, and every row must fill them")

    @property
    def numeric(self) -> list[bool]:
        """Whether each column holds numbers alone; such columns are right-aligned."""
        return [not any(isinstance(row[i], str) for row in self.rows) for i in range(len(self.columns))]

    def text(self, value: Cell, signed: bool = False) -> str:
        """One cell as a reader sees it; `signed`: floats show their sign."""
        if jsonable(value) is None:
            return MISSING
        form = f"{'+' * signed}.{self.digits}f"
        if isinstance(value, Estimate) and math.isfinite(value.low):
            return f"{float(value):{form}} [{value.low:{form}}, {value.high:{form}}]"
        if isinstance(value, float):
            return f"{float(value):{form}}"
        return f"{value:,}" if isinstance(value, int) else str(value)

    def texts(self) -> list[list[str]]:
        """All cells as a reader sees them, row by row."""
        signed = [column in self.signed for column in self.columns]
        return [[self.text(value, s) for value, s in zip(row, signed, strict=True)] for row in self.rows]

    def plain(self, width: int | None = None) -> str:
        """Columns aligned for a terminal, without title and note.

        Args:
            width: of the terminal; columns that do not fit follow in further blocks, each behind the first column. None
                does not limit the lines.
        """
        lines = [list(self.columns), *self.texts()]
        padded = []
        for column, right in zip(zip(*lines, strict=True), self.numeric, strict=True):
            most = max(map(len, column))
            padded.append([cell.rjust(most) if right else cell.ljust(most) for cell in column])
        blocks = [padded[:1]]
        for cells in padded[1:]:
            if width and len(blocks[-1]) > 1 and sum(len(one[0]) + 2 for one in [*blocks[-1], cells]) - 2 > width:
                blocks.append(padded[:1])
            blocks[-1].append(cells)
        return "\n\n".join("\n".join("  ".join(line).rstrip() for line in zip(*block, strict=True)) for block in blocks)

    def terminal(self) -> str:
        """Title, table and note as wide as the terminal; where the output is no terminal, on lines of any length."""
        width = terminal_width()
        note = "\n\n".join(wrapped(part, width) for part in self.note.split("\n\n")) if self.note else ""
        return "\n".join(part for part in (self.title, self.plain(width), note) if part) + "\n"

    def markdown(self) -> str:
        """Title, table and note."""
        rule = "|".join("---:" if right else "---" for right in self.numeric)
        head = ["| " + " | ".join(self.columns) + " |", f"|{rule}|"]
        body = ["| " + " | ".join(text.replace("|", "\\|") for text in row) + " |" for row in self.texts()]
        note = f"\n\n{self.note}" if self.note else ""
        return f"### {self.title}\n\n" + "\n".join(head + body) + note + "\n"

    def csv(self) -> str:
        """RFC 4180 with a header; missing cells are empty, and bounds of intervals have columns of their own."""
        buffer = io.StringIO()
        writer = csv.writer(buffer, lineterminator="\n")
        columns: list[str] = []
        cells: list[list[Cell]] = [[] for _ in self.rows]
        for i, name in enumerate(self.columns):
            own = [row[i] for row in self.rows]
            ends = ("low", "high") if any(isinstance(value, Estimate) for value in own) else ()
            columns += [name, *(f"{name} {end}" for end in ends)]
            for line, value in zip(cells, own, strict=True):
                plain = float(value) if isinstance(value, float) else value
                line += [plain, *(getattr(value, end, None) for end in ends)]
        writer.writerow(columns)
        writer.writerows(jsonable(cells))
        return buffer.getvalue()

    def record(self) -> dict[str, Any]:
        """The table for JSON: the attributes, and each row as an object; missing cells are null.

        A figure with an interval is an object: value, low, high.
        """
        rows = [dict(zip(self.columns, row, strict=True)) for row in jsonable(self.rows)]
        return {"name": self.name, "title": self.title, "note": self.note, "digits": self.digits,
                "signed": list(self.signed), "columns": list(self.columns), "rows": rows}

    def write(self, folder: Path) -> None:
        """Write NAME.json, NAME.csv and NAME.md into `folder`."""
        write_text(folder / f"{self.name}.json", json.dumps(self.record(), indent=1) + "\n")
        write_text(folder / f"{self.name}.csv", self.csv())
        write_text(folder / f"{self.name}.md", self.markdown())

    @classmethod
    def of_record(cls, record: dict[str, Any]) -> Table:
        """The table that `record` describes; missing cells are None."""
        rows = tuple(
            tuple(Estimate(*(math.nan if one is None else one for one in v.values())) if isinstance(v, dict) else v
                  for v in row.values()) for row in record["rows"]
        )
        tuples = {name: tuple(record[name]) for name in ("columns", "signed")}
        return cls(**{**record, **tuples, "rows": rows})


def wrapped(text: str, width: int | None) -> str:
    """A paragraph in lines of `width`; None leaves the paragraph as it is."""
    return textwrap.fill(text, width, break_long_words=False, break_on_hyphens=False) if width else text


def jsonable(value: Any) -> Any:
    """The value with NaN and infinities, which JSON does not have, replaced by None, through dicts and sequences."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Estimate):
        return {"value": float(value), "low": jsonable(value.low), "high": jsonable(value.high)}
    if isinstance(value, dict):
        return {key: jsonable(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [jsonable(one) for one in value]
    return value
