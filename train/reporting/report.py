"""The report of the studies: one self-contained HTML page in the image report's style, and the same as Markdown."""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from html import escape
from importlib.resources import files
from pathlib import Path

from ...runtime.core.files import write_text
from ...runtime.report.html import STYLES, csp_hash, templates
from .claims import Claim
from .overview import FAILED, NO_FIGURES, Overview
from .published import beside
from .result import StudyResult
from .tables import Table

TITLE = "Reproduction report"
TERMS = "Shows images of the data set: mind their terms before you publish this page."


@dataclass(frozen=True)
class Report:
    """What is shown of a run.

    Attributes:
        facts: what is not comparable, version, date, command, data, backbone and recipe, a sentence each.
        studies: each result with the folder of its plots.
        trained: the generators trained on.
        title: heading.
    """

    facts: tuple[str, ...]
    studies: tuple[tuple[StudyResult, Path], ...]
    trained: tuple[str, ...]
    title: str = TITLE

    @cached_property
    def overview(self) -> Overview:
        """The lead."""
        return Overview(tuple(result for result, _ in self.studies), self.trained)

    def write_html(self, path: Path) -> None:
        """Write the page: the result first, then a section for each study."""
        own = files(__package__)
        style = templates(*STYLES) + (own / "report.css").read_text(encoding="utf-8")
        values = {
            "title": escape(self.title), "style": style, "hash": csp_hash(style), "lead": _lead(self.overview),
            "facts": "".join(f'<p class="byline">{escape(fact)}</p>' for fact in self.facts),
            "sections": "\n".join(_section(self._beside(result), folder) for result, folder in self.studies),
        }
        page = (own / "report.html").read_text(encoding="utf-8")
        write_text(path, re.sub(r"{{(\w+)}}", lambda place: values[place[1]], page))

    def write_markdown(self, path: Path) -> None:
        """Write all tables as one Markdown file without pictures, for places where the images may not be published."""
        parts = [f"# CINEMAE: {self.title}", *self.facts, self.overview.ran, self.overview.table().markdown()]
        for result, _ in self.studies:
            parts.append(f"## {result.title}")
            parts += [f"**Could not run:** {result.error}"] if result.error else []
            parts.append(self._beside(result).markdown())
        write_text(path, "\n\n".join(part.strip() for part in parts) + "\n")

    def terminal(self) -> str:
        """Every study's tables, each after the paper's figures beside them, as wide as the terminal."""
        shown = [self._beside(result) for result, _ in self.studies]
        failed = [replace(one, text=f"{FAILED}: {one.error}") if one.error else one for one in shown]
        return "\n".join(one.terminal() for one in failed)

    def _beside(self, result: StudyResult) -> StudyResult:
        """The result with the paper's figures before its own tables."""
        return replace(result, tables=(*beside(result, self.trained), *result.tables))


def table_html(table: Table) -> str:
    """Title, table and note; numbers right-aligned, the first column a heading that stays in sight."""
    classes = [' class="n"' if n else "" for n in table.numeric]

    def cells(tag: str, texts: Sequence[str]) -> str:
        first, *rest = (f"{c}>{escape(text)}</" for text, c in zip(texts, classes, strict=True))
        return f"<th{first}th>" + "".join(f"<{tag}{one}{tag}>" for one in rest)

    body = "".join(f"<tr>{cells('td', texts)}</tr>\n" for texts in table.texts())
    notes = "".join(f'<p class="note">{escape(part)}</p>' for part in table.note.split("\n\n") if part)
    title, head = escape(table.title), cells("th", table.columns)
    shown = _scroll(title, f"<tr>{head}</tr>", body) if table.rows else ""
    return f'<div class="block"><h3>{title}</h3>{shown}{notes}</div>'


def _scroll(label: str, head: str, body: str, kind: str = "table") -> str:
    """A table in a box that scrolls by touch and keyboard."""
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{label}"><table class="{kind}">'
        f"<thead>{head}</thead><tbody>\n{body}</tbody></table></div>"
    )


def _lead(overview: Overview) -> str:
    """The main figures, which studies ran, and the paper's claims beside this run, each with a link to its study."""
    cards = "".join(
        f'<div class="verdict{" bad" if card.bad else ""}"><b>{escape(card.value)}</b><span>{escape(card.label)}</span>'
        f"<small>{escape(card.note)}</small></div>"
        for card in overview.cards
    )
    table = overview.table()
    head = "".join(
        f"<th{' class=n' if column in ('paper', 'here', 'difference') else ''}>{column}</th>"
        for column in table.columns
    )
    body = "".join(f"<tr>{_line(*line)}</tr>\n" for line in overview.lines)
    shown = _scroll(escape(table.title), f"<tr>{head}</tr>", body, "overviewtable")
    return (
        f'<section class="lead" aria-label="Result"><div class="verdicts">{cards}</div><p>{escape(overview.ran)}</p>'
        f'<h3>{escape(table.title)}</h3>{shown}<p class="note">{escape(table.note)}</p></section>'
    )


def _line(result: StudyResult, claim: Claim | None) -> str:
    """The cells of one line of the overview."""
    study = f'<th><a href="#{escape(result.name)}">{escape(result.title)}</a></th>'
    if claim:
        source, *numbers = map(escape, claim.cells)
        numbers = [re.sub(r" (?!\[)", "&nbsp;", text) for text in numbers]  # an interval may stand on a line of its own
        names = ("paper", "here", "difference")
        figures = "".join(f'<td class="n" data-name="{n}">{v}</td>' for n, v in zip(names, numbers, strict=True))
        return f'{study}<td>{escape(claim.text)}</td><td class="source">{source}</td>{figures}'
    if result.error:
        return f'{study}<td colspan="5" class="failed"><strong>{FAILED}</strong>: {escape(result.error)}</td>'
    return f'{study}<td colspan="5" class="dim">{NO_FIGURES}</td>'


def _section(result: StudyResult, folder: Path) -> str:
    """The section of one study, whose plots lie in `folder`."""
    figures = []
    for plot in result.plots:
        data = base64.b64encode((folder / plot.file).read_bytes()).decode()
        caption = escape(plot.caption)
        kind = "plot photographs" if plot.photographs else "plot"
        image = f'<div class="{kind}"><img alt="{caption}" src="data:image/svg+xml;base64,{data}"></div>'
        terms = f" {TERMS}" if plot.photographs else ""
        figures.append(f"<figure>{image}<figcaption>{caption}.{terms}</figcaption></figure>")
    pictures = "".join(figures)
    reason = f"<p class='banner bad'><strong>This study {FAILED}.</strong> {escape(result.error)}</p>"
    tables = "".join(table_html(table) for table in result.tables)
    text = "".join(f"<p>{escape(paragraph)}</p>" for paragraph in result.text.split("\n\n"))
    return (
        f'<section class="study"><h2 id="{escape(result.name)}">{escape(result.title)}</h2>'
        f"{reason if result.error else ''}{text}"
        f'<div class="blocks">{tables}</div><div class="blocks">{pictures}</div>'
        '<p class="above"><a href="#top">Back to the result</a></p></section>'
    )
