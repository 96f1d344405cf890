"""One self-contained HTML page of all results: tables, plots as data URIs, light and dark; nothing is fetched."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from html import escape
from pathlib import Path

from ...runtime.atomic import write_text
from ..tables import Table
from .result import StudyResult

TERMS = "Shows images of the data set: mind their terms before you publish this page."

STYLE = """
:root { color-scheme: light dark; --line: #8884; --dim: #888; --head: #8881; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 78rem; margin: 2rem auto; padding: 0 1rem; }
h1 { margin-bottom: 0; } h2 { margin-top: 3rem; border-bottom: 1px solid var(--line); } h3 { margin-bottom: .3rem; }
nav { columns: 16rem; margin: 1.5rem 0; } nav a { display: block; } a { color: inherit; }
.scroll { overflow-x: auto; } table { border-collapse: collapse; font-size: 13px; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .6rem; border-bottom: 1px solid var(--line); text-align: left; }
th { background: var(--head); font-weight: 600; } td.n, th.n { text-align: right; white-space: nowrap; }
.note, figcaption { color: var(--dim); font-size: 13px; max-width: 60rem; } p { max-width: 60rem; }
figure { margin: 1rem 0; } img { max-width: 100%; height: auto; background: #fff; border-radius: 4px; }
""".strip()


def table_html(table: Table) -> str:
    """Title, table and note; numbers right-aligned."""

    def cells(tag: str, values: Sequence[str]) -> str:
        classes = [" class=n" if n else "" for n in table.numeric]
        return "".join(f"<{tag}{c}>{escape(v)}</{tag}>" for v, c in zip(values, classes, strict=True))

    body = "".join(f"<tr>{cells('td', [table.text(value) for value in row])}</tr>\n" for row in table.rows)
    note = f"<p class=note>{escape(table.note)}</p>" if table.note else ""
    head = f"<thead><tr>{cells('th', table.columns)}</tr></thead>"
    return f"<h3>{escape(table.title)}</h3><div class=scroll><table>{head}<tbody>\n{body}</tbody></table></div>{note}"


def section(result: StudyResult, folder: Path) -> str:
    """The section of one study, whose plots lie in `folder`."""
    figures = []
    for plot in result.plots:
        data = base64.b64encode((folder / plot.file).read_bytes()).decode()
        caption = escape(plot.caption)
        terms = f" {TERMS}" if plot.photographs else ""
        image = f'<img alt="{caption}" src="data:image/png;base64,{data}">'
        figures.append(f"<figure>{image}<figcaption>{caption}.{terms}</figcaption></figure>")
    tables = "".join(table_html(table) for table in result.tables)
    text = "".join(f"<p>{escape(paragraph)}</p>" for paragraph in result.text.split("\n\n"))
    head = f'<h2 id="{escape(result.name)}">{escape(result.title)}</h2>{text}'
    return f"{head}{tables}{''.join(figures)}"


def write_html(path: Path, title: str, facts: Sequence[str], results: Sequence[tuple[StudyResult, Path]]) -> None:
    """Write the page: the facts, an index, and a section for each result, given with its folder."""
    index = "".join(f'<a href="#{escape(result.name)}">{escape(result.title)}</a>' for result, _ in results)
    lines = "".join(f"<p class=note>{escape(fact)}</p>" for fact in facts)
    body = "\n".join(section(result, folder) for result, folder in results)
    write_text(
        path,
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head>\n<body><h1>{escape(title)}</h1>{lines}"
        f"<nav>{index}</nav>\n{body}\n</body></html>\n",
    )


def write_markdown(path: Path, title: str, facts: Sequence[str], results: Sequence[tuple[StudyResult, Path]]) -> None:
    """Write all tables as one Markdown file without pictures, for places where the images may not be published."""
    parts = [f"# {title}", *facts, *(result.markdown() for result, _ in results)]
    write_text(path, "\n\n".join(part.strip() for part in parts) + "\n")
