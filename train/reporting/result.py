"""Result of a study: tables, plots and a few sentences, kept in the study's folder so that it runs once."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
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
        text: what was done and how to read it; paragraphs are separated by blank lines.
        tables: its tables.
        plots: its plots.
        name: name of the folder, and anchor in the report; whoever runs the study sets it.
        title: heading; set with the name.
        error: why the study could not run; "" where it ran. Such a result has no tables, and is not kept.
    """

    text: str
    tables: tuple[Table, ...] = ()
    plots: tuple[Plot, ...] = ()
    name: str = ""
    title: str = ""
    error: str = ""

    def write(self, folder: Path, key: str) -> None:
        """Write the tables, the whole as Markdown and, last, the record that marks the study as done."""
        for table in self.tables:
            table.write(folder)
        plots = "".join(f"\n![{plot.caption}]({plot.file})\n" for plot in self.plots)
        write_text(folder / f"{self.name}.md", f"## {self.title}\n\n{self.markdown()}\n{plots}")
        record = {"key": key, **asdict(self), "tables": [table.record() for table in self.tables]}
        write_text(folder / RECORD, json.dumps(record, indent=1) + "\n")

    @classmethod
    def read(cls, folder: Path, key: str) -> StudyResult | None:
        """Read a result that `write` wrote; None where nothing was written under this key, or a plot is gone."""
        if not (folder / RECORD).exists():
            return None
        record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        if record.pop("key") != key or not all((folder / plot["file"]).exists() for plot in record["plots"]):
            return None
        tables, plots = map(Table.of_record, record["tables"]), (Plot(**plot) for plot in record["plots"])
        return cls(**{**record, "tables": tuple(tables), "plots": tuple(plots)})

    def markdown(self) -> str:
        """Text and tables."""
        return "\n\n".join(part.strip() for part in (self.text, *(table.markdown() for table in self.tables)) if part)

    def terminal(self) -> str:
        """Title, text and tables as wide as the terminal."""
        text = "\n\n".join(wrapped(part, terminal_width()) for part in self.text.split("\n\n"))
        return "\n\n".join([self.title, text, *(table.terminal() for table in self.tables)])


def once(folder: Path, title: str, parts: Mapping[str, Any], make: Callable[[], StudyResult]) -> StudyResult:
    """Read the result in `folder` if it was made from the same `parts`; otherwise make and write it.

    The folder has the study's name, and `parts` are everything that decides its figures.
    """
    text = json.dumps({"format": FORMAT, **parts}, sort_keys=True, default=str)
    key = hashlib.sha256(text.encode()).hexdigest()[:16]
    if kept := StudyResult.read(folder, key):
        log.info("%s: done before, from the same data and options", folder)
        return kept
    folder.mkdir(parents=True, exist_ok=True)
    (folder / RECORD).unlink(missing_ok=True)
    result = replace(make(), name=folder.name, title=title)
    result.write(folder, key)
    return result
