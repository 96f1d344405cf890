"""Result tables: one object, shown on a terminal and written as JSON, CSV, Markdown and, in reports, HTML."""

from __future__ import annotations

import csv
import io
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..runtime.atomic import write_text

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
    """

    name: str
    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    note: str = ""
    digits: int = 3

    def __post_init__(self) -> None:
        if len(set(self.columns)) != len(self.columns) or any(len(row) != len(self.columns) for row in self.rows):
            raise ValueError(f"table {self.name}: columns must differ, and every row must fill them")

    @property
    def numeric(self) -> list[bool]:
        """Whether each column holds numbers alone; such columns are right-aligned."""
        return [not any(isinstance(row[i], str) for row in self.rows) for i in range(len(self.columns))]

    def text(self, value: Cell) -> str:
        """One cell as a reader sees it."""
        if jsonable(value) is None:
            return MISSING
        if isinstance(value, float):
            return f"{value:.{self.digits}f}"
        return f"{value:,}" if isinstance(value, int) else str(value)

    def plain(self) -> str:
        """Columns aligned for a terminal, without title and note."""
        lines = [list(self.columns), *([self.text(value) for value in row] for row in self.rows)]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        layout = list(zip(widths, self.numeric, strict=True))
        return "\n".join(
            "  ".join(cell.rjust(w) if right else cell.ljust(w) for cell, (w, right) in zip(line, layout, strict=True))
            for line in lines
        )

    def markdown(self) -> str:
        """Title, table and note."""
        rule = "|".join("---:" if right else "---" for right in self.numeric)
        head = ["| " + " | ".join(self.columns) + " |", f"|{rule}|"]
        body = ["| " + " | ".join(self.text(v).replace("|", "\\|") for v in row) + " |" for row in self.rows]
        note = f"\n\n{self.note}" if self.note else ""
        return f"### {self.title}\n\n" + "\n".join(head + body) + note + "\n"

    def csv(self) -> str:
        """RFC 4180 with a header; missing cells are empty."""
        buffer = io.StringIO()
        writer = csv.writer(buffer, lineterminator="\n")
        writer.writerow(self.columns)
        writer.writerows(jsonable(self.rows))
        return buffer.getvalue()

    def record(self) -> dict[str, Any]:
        """The table for JSON: name, title, note, digits, columns, and each row as an object; missing cells are null."""
        rows = [dict(zip(self.columns, row, strict=True)) for row in jsonable(self.rows)]
        return {"name": self.name, "title": self.title, "note": self.note, "digits": self.digits,
                "columns": list(self.columns), "rows": rows}  # fmt: skip

    def write(self, folder: Path) -> None:
        """Write NAME.json, NAME.csv and NAME.md into `folder`."""
        write_text(folder / f"{self.name}.json", json.dumps(self.record(), indent=1) + "\n")
        write_text(folder / f"{self.name}.csv", self.csv())
        write_text(folder / f"{self.name}.md", self.markdown())

    @classmethod
    def read(cls, path: Path) -> Table:
        """Read a table from the JSON file of `write`."""
        record = json.loads(path.read_text(encoding="utf-8"))
        columns = tuple(record["columns"])
        rows = tuple(tuple(row[c] for c in columns) for row in record["rows"])
        return cls(record["name"], record["title"], columns, rows, record["note"], record.get("digits", 3))


def jsonable(value: Any) -> Any:
    """The value with NaN and infinities, which JSON does not have, replaced by None, through dicts and sequences."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {key: jsonable(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [jsonable(one) for one in value]
    return value
