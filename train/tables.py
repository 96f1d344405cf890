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
    """name: the files' stem. rows: one tuple a row, as long as `columns`. note: what a reader must know, plain text.

    digits: decimals of every float in Markdown; JSON and CSV keep the full value.
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
        """One cell as a reader sees it; what does not exist is a dash."""
        if value is None or (isinstance(value, float) and not math.isfinite(value)):
            return "–"
        if isinstance(value, float):
            return f"{value:.{self.digits}f}"
        return f"{value:,}" if isinstance(value, int) else value

    def markdown(self) -> str:
        """Title, table and note; numbers right-aligned."""
        columns = range(len(self.columns))
        numeric = [all(isinstance(row[i], (int, float, type(None))) for row in self.rows) for i in columns]
        head = ["| " + " | ".join(self.columns) + " |", "|" + "|".join("---:" if n else "---" for n in numeric) + "|"]
        body = ["| " + " | ".join(self.text(v).replace("|", "\\|") for v in row) + " |" for row in self.rows]
        note = f"\n\n{self.note}" if self.note else ""
        return f"### {self.title}\n\n" + "\n".join(head + body) + note + "\n"

    def csv(self) -> str:
        """RFC 4180 with a header; what does not exist is empty."""
        buffer = io.StringIO()
        writer = csv.writer(buffer, lineterminator="\n")
        writer.writerow(self.columns)
        writer.writerows([[_finite(v) for v in row] for row in self.rows])
        return buffer.getvalue()

    def record(self) -> dict[str, Any]:
        """JSON: name, title, note, digits, and rows as objects."""
        rows = [dict(zip(self.columns, (_finite(v) for v in row), strict=True)) for row in self.rows]
        return {"name": self.name, "title": self.title, "note": self.note, "digits": self.digits,
                "columns": list(self.columns), "rows": rows}  # fmt: skip

    def write(self, folder: Path) -> None:
        """NAME.json, NAME.csv and NAME.md in `folder`."""
        write_text(folder / f"{self.name}.json", json.dumps(self.record(), indent=1) + "\n")
        write_text(folder / f"{self.name}.csv", self.csv())
        write_text(folder / f"{self.name}.md", self.markdown())

    @classmethod
    def read(cls, path: Path) -> Table:
        """A table that `write` left as JSON."""
        found = json.loads(path.read_text(encoding="utf-8"))
        columns = tuple(found["columns"])
        rows = tuple(tuple(row[c] for c in columns) for row in found["rows"])
        return cls(found["name"], found["title"], columns, rows, found["note"], found.get("digits", 3))


def _finite(value: Cell) -> Cell:
    """JSON has no NaN."""
    return None if isinstance(value, float) and not math.isfinite(value) else value
