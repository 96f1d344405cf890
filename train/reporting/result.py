"""Result of a study: tables, plots and a few sentences, kept in the study's folder so that it runs once."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...runtime.core.files import write_text
from ...runtime.core.text import terminal_width
from .tables import Table, wrapped

log = logging.getLogger("cinemae.train")

RECORD = "study.json"
FORMAT = 2
"""Part of every study's key; it grows when tables or plots change, so that older results are made again."""


@dataclass(frozen=True)
class Plot:
    """A plot of a study.

    Attributes:
        file: SVG, relative to the study's folder.
        caption: caption.
        photographs: whether it shows images of the data set, which may not be free to publish.
    """

    file: str
    caption: str
    photographs: bool = False


@dataclass(frozen=True)
class StudyResult:
    """Result of a study.

    Attributes:
        name: name of the folder, and anchor in the report.
        title: heading.
        text: what was done and how to read it; paragraphs are separated by blank lines.
        tables: its tables.
        plots: its plots.
        error: why the study could not run; "" where it ran. Such a result has no tables, and is not kept.
    """

    name: str
    title: str
    text: str
    tables: tuple[Table, ...]
    plots: tuple[Plot, ...] = ()
    error: str = ""

    def write(self, folder: Path, key: str) -> None:
        """Write the tables, the whole as Markdown and, last, the record that marks the study as done."""
        for table in self.tables:
            table.write(folder)
        write_text(folder / f"{self.name}.md", self.markdown(plots=True))
        record = {
            "key": key, "name": self.name, "title": self.title, "text": self.text,
            "tables": [t.name for t in self.tables],
            "plots": [[p.file, p.caption, p.photographs] for p in self.plots],
        }
        write_text(folder / RECORD, json.dumps(record, indent=1) + "\n")

    def markdown(self, plots: bool = False) -> str:
        """Title, text, tables and, with `plots`, links to the plots beside it."""
        parts = [f"## {self.title}", self.text, *(table.markdown() for table in self.tables)]
        if plots:
            parts += [f"![{plot.caption}]({plot.file})" for plot in self.plots]
        return "\n\n".join(part.strip() for part in parts if part.strip()) + "\n"

    def terminal(self) -> str:
        """Title, text and tables as wide as the terminal."""
        text = "\n\n".join(wrapped(part, terminal_width()) for part in self.text.split("\n\n"))
        return "\n\n".join([self.title, text, *(table.terminal() for table in self.tables)])

    @classmethod
    def read(cls, folder: Path) -> tuple[StudyResult, str]:
        """Read a result and its key."""
        record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        tables = tuple(Table.read(folder / f"{name}.json") for name in record["tables"])
        plots = tuple(Plot(*entry) for entry in record["plots"])
        return cls(record["name"], record["title"], record["text"], tables, plots), record["key"]


def key_of(**parts: Any) -> str:
    """Hash of everything that decides the figures of a study."""
    text = json.dumps({"format": FORMAT, **parts}, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def once(folder: Path, parts: Mapping[str, Any], make: Callable[[], StudyResult]) -> StudyResult:
    """Read the result in `folder` if it was made from the same `parts`; otherwise make and write it."""
    key = key_of(**parts)
    if (folder / RECORD).exists():
        result, old = StudyResult.read(folder)
        if old == key and all((folder / plot.file).exists() for plot in result.plots):
            log.info("%s: done before, from the same data and options", folder)
            return result
    folder.mkdir(parents=True, exist_ok=True)
    (folder / RECORD).unlink(missing_ok=True)
    result = make()
    result.write(folder, key)
    return result
