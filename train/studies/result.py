"""What a study leaves behind: tables, plots, a few sentences; kept in its folder, so that it is not repeated."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...runtime.atomic import write_text
from ..tables import Table

log = logging.getLogger("cinemae.train")

RECORD = "study.json"


@dataclass(frozen=True)
class Plot:
    """A PNG in the study's folder. photographs: it shows images of the data set, which may not be free to publish."""

    file: str
    caption: str
    photographs: bool = False


@dataclass(frozen=True)
class StudyResult:
    """name: folder and anchor. text: what was done and how to read it, paragraphs apart by blank lines."""

    name: str
    title: str
    text: str
    tables: tuple[Table, ...]
    plots: tuple[Plot, ...] = ()

    def write(self, folder: Path, key: str) -> None:
        """Every table as JSON, CSV and Markdown, the whole as Markdown, and last the record that says it is done."""
        for table in self.tables:
            table.write(folder)
        write_text(folder / f"{self.name}.md", self.markdown(plots=True))
        record = {
            "key": key, "name": self.name, "title": self.title, "text": self.text,
            "tables": [t.name for t in self.tables],
            "plots": [[p.file, p.caption, p.photographs] for p in self.plots],
        }  # fmt: skip
        write_text(folder / RECORD, json.dumps(record, indent=1) + "\n")

    def markdown(self, plots: bool = False) -> str:
        """Title, text, tables and, with `plots`, links to the plots beside it."""
        parts = [f"## {self.title}", self.text, *(table.markdown() for table in self.tables)]
        if plots:
            parts += [f"![{plot.caption}]({plot.file})" for plot in self.plots]
        return "\n\n".join(part.strip() for part in parts if part.strip()) + "\n"

    @classmethod
    def read(cls, folder: Path) -> tuple[StudyResult, str]:
        """A written result and its key."""
        found = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        tables = tuple(Table.read(folder / f"{name}.json") for name in found["tables"])
        plots = tuple(Plot(*entry) for entry in found["plots"])
        return cls(found["name"], found["title"], found["text"], tables, plots), found["key"]


def key_of(**parts: Any) -> str:
    """Hash of everything that decides a study's figures."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()[:16]


def once(folder: Path, parts: Mapping[str, Any], make: Callable[[], StudyResult]) -> StudyResult:
    """The result in `folder` if it was made from the same `parts`, else a new one, written there."""
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
