"""Result tables: one object, written as JSON, CSV and Markdown."""

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


@dataclass(frozen=True)
class Table:
    """A table of results.

    Attributes:
        name: stem of its files.
        title: heading.
        columns: names, all different.
        rows: one tuple a row, as long as `columns`; None and NaN stand for a missing value.
        note: explanation below the table, plain text.
        digits: decimals of every float in Markdown; JSON and CSV keep the full value.

    Raises:
        ValueError: columns repeat, or a row has another length.
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

    def text(self, value: Cell) -> str:
        """Format one cell for Markdown; a missing value is a dash."""
        if value is None or (isinstance(value, float) and not math.isfinite(value)):
            return "–"
        if isinstance(value, float):
            return f"{value:.{self.digits}f}"
        return f"{value:,}" if isinstance(value, int) else value

    def markdown(self) -> str:
        """Format as Markdown: title, table and note; numbers right-aligned."""
        columns = range(len(self.columns))
        numeric = [all(isinstance(row[i], (int, float, type(None))) for row in self.rows) for i in columns]
        head = ["| " + " | ".join(self.columns) + " |", "|" + "|".join("---:" if n else "---" for n in numeric) + "|"]
        body = ["| " + " | ".join(self.text(v).replace("|", "\\|") for v in row) + " |" for row in self.rows]
        note = f"\n\n{self.note}" if self.note else ""
        return f"### {self.title}\n\n" + "\n".join(head + body) + note + "\n"

    def csv(self) -> str:
        """Format as CSV (RFC 4180) with a header; a missing value is empty."""
        buffer = io.StringIO()
        writer = csv.writer(buffer, lineterminator="\n")
        writer.writerow(self.columns)
        writer.writerows([[_finite(v) for v in row] for row in self.rows])
        return buffer.getvalue()

    def record(self) -> dict[str, Any]:
        """Convert into a JSON object with name, title, note, digits, columns, and rows as objects."""
        rows = [dict(zip(self.columns, (_finite(v) for v in row), strict=True)) for row in self.rows]
        return {"name": self.name, "title": self.title, "note": self.note, "digits": self.digits,
                "columns": list(self.columns), "rows": rows}  # fmt: skip

    def write(self, folder: Path) -> None:
        """Write NAME.json, NAME.csv and NAME.md into `folder`."""
        write_text(folder / f"{self.name}.json", json.dumps(self.record(), indent=1) + "\n")
        write_text(folder / f"{self.name}.csv", self.csv())
        write_text(folder / f"{self.name}.md", self.markdown())

    @classmethod
    def read(cls, path: Path) -> Table:
        """Read the JSON file of a table."""
        found = json.loads(path.read_text(encoding="utf-8"))
        columns = tuple(found["columns"])
        rows = tuple(tuple(row[c] for c in columns) for row in found["rows"])
        return cls(found["name"], found["title"], columns, rows, found["note"], found.get("digits", 3))


def _finite(value: Cell) -> Cell:
    """Replace NaN and infinities, which JSON does not have, by None."""
    return None if isinstance(value, float) and not math.isfinite(value) else value
