"""Lists of labelled images: CSV with a header, or JSONL, with path, label and, if known, generator and split.

The CSV of a report's review and a run's records with a label column are such lists, too: of their lines, those without
a label are left out, a path may be relative to the current folder, and text that was marked for spreadsheets is read
without the mark.
"""

from __future__ import annotations

import codecs
import csv
import json
import logging
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, TextIO

from ...runtime.core.errors import UsageError
from . import hub
from .classes import is_number
from .layouts import NO_SPLIT, SPLITS
from .options import Data
from .sample import Sample
from .skipped import Skipped, usable
from .stored import place

log = logging.getLogger("cinemae.train")

SUFFIXES = (".csv", ".jsonl", ".ndjson")
UNNAMED = "unnamed"
"""Generator of an image where the list does not say."""
COLUMNS = "path,label[,generator[,split]]"
NEEDED = ("path", "label")
RECORDED = ("verdict", "status")
"""Columns of records and reviews, whose lines may have no label."""
UNJUDGED = (None, "", "unclear")
"""Labels of images that nobody judged, or, in any list, that somebody could not judge (as the report's review.js)."""
SEPARATORS = ",;\t"
LONGEST_PATH = 32_767
"""Characters of the longest path that a system has (Windows with long paths)."""
SHOWN = 5
_MARKED = re.compile(r"'[=+\-@\t\r]")


class Line(NamedTuple):
    """An entry of a list.

    Attributes:
        number: of its first line, from 1.
        record: its fields by lower-case name.
        is_recorded: it comes from records or a review.
    """

    number: int
    record: dict[str, Any]
    is_recorded: bool


def _opened(path: Path) -> TextIO:
    """A list as text: UTF-8, or UTF-16 where its first bytes say so, as spreadsheets write it."""
    with path.open("rb") as file:
        is_utf16 = file.read(2) in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
    return path.open(encoding="utf-16" if is_utf16 else "utf-8-sig", newline="")


def _csv_lines(path: Path, file: TextIO, needed: dict[str, str]) -> Iterator[Line]:
    head = file.readline()
    separator = max(SEPARATORS, key=lambda one: (len(set(needed.values()) & _cells(head, one)), head.count(one)))
    file.seek(0)
    reader = csv.reader(file, delimiter=separator, strict=True)
    names: list[str] = []
    start = 1
    try:
        for cells in reader:
            if not names:
                names = [name.strip().lower() for name in cells]
                if missing := missing_names(names, needed):
                    raise UsageError(
                        f"{path}: no column {missing}; its columns are: {', '.join(cells)}; the first line of a list "
                        f"names its columns, {COLUMNS}, separated by commas or semicolons"
                    )
            elif cells:
                yield Line(start, dict(zip(names, cells, strict=False)), bool(set(RECORDED) & set(names)))
            start = reader.line_num + 1
    except csv.Error as error:
        end = f" to {reader.line_num}" if reader.line_num > start else ""
        raise UsageError(
            f"{path}, line {start}{end}: cannot be read ({error}); an odd quote, or text that is too long?"
        ) from None
    if not names:
        raise UsageError(f"{path}: no column {missing_names((), needed)}; it is empty; a list has {COLUMNS}")


def _cells(head: str, separator: str) -> set[str]:
    return {cell.strip().strip('"').lower() for cell in head.split(separator)}


def _json_lines(path: Path, file: TextIO, needed: dict[str, str]) -> Iterator[Line]:
    for number, line in enumerate(file, 1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise UsageError(f"{path}, line {number}: not JSON ({error})") from None
        if not isinstance(record, dict):
            raise UsageError(f'{path}, line {number}: want an object such as {{"path": "a.jpg", "label": "ai"}}')
        names = {str(name).strip().lower(): value for name, value in record.items()}
        is_recorded = bool(set(RECORDED) & set(names))
        if missing := missing_names([*names, *([needed["label"]] if is_recorded else [])], needed):
            raise UsageError(
                f"{path}, line {number}: no field {missing}; its fields are: {', '.join(record) or 'none'}; a list has "
                f"{COLUMNS}"
            )
        yield Line(number, names, is_recorded)


def missing_names(names: Iterable[str], needed: dict[str, str]) -> str:
    """The names of `needed` that are no columns or fields, in words; "" where none is missing."""
    there = {name.strip().lower() for name in names}
    return " and ".join(name for name in needed.values() if name not in there)


def from_list(path: Path, options: Data, skipped: Skipped) -> list[Sample]:
    """Read all entries, in file order; a relative path is taken from the folder of the list.

    Raises:
        UsageError: a column is missing (the message names those there), a line cannot be read or has no path, or an
            unknown label or split; the message names the line.
    """
    columns = {kind: name.strip().lower() for kind, name in options.named_columns.items()}
    usual = {name: name for name in ("path", "label", "generator", "split")}
    columns = usual | {"path" if kind == "image" else kind: name for kind, name in columns.items()}
    needed = {kind: columns[kind] for kind in NEEDED}
    lines: list[tuple[int, str, str, str, str]] = []
    problems: list[str] = []
    unjudged = 0
    try:
        with _opened(path) as file:
            for line in (_csv_lines if path.suffix.lower() == ".csv" else _json_lines)(path, file, needed):
                given = {kind: line.record.get(name) for kind, name in columns.items()}
                if given["label"] in (UNJUDGED if line.is_recorded else UNJUDGED[2:]):
                    unjudged += 1
                elif problem := _problem(given):
                    problems.append(f"line {line.number}: {problem}")
                else:
                    name = _resolved(path.parent, str(given["path"]), line.is_recorded)
                    label = str(given["label"]).strip()
                    split = SPLITS[str(given["split"] or NO_SPLIT).strip().lower()]
                    lines.append((line.number, name, label, str(given["generator"] or UNNAMED), split))
    except UnicodeError:
        raise UsageError(f"{path}: not UTF-8 text") from None
    problems += _unknown_names(lines, options)
    if problems:
        more = f" and {len(problems) - SHOWN:,} more lines" if len(problems) > SHOWN else ""
        raise UsageError(f"{path}, {'; '.join(problems[:SHOWN])}{more}")
    if unjudged:
        log.warning("%s: %s lines without the label of a class left out", path, f"{unjudged:,}")
    labels = options.classes.settle({label for _, _, label, _, _ in lines}, str(path))
    return [
        Sample(name, labels[label], generator, split)
        for _, name, label, generator, split in lines
        if hub.is_hub(name) or _there(name, skipped)
    ]


def _unknown_names(lines: Iterable[tuple[int, str, str, str, str]], options: Data) -> list[str]:
    """Labels that are no numbers and no known names, by line; numbers are a matter of the whole list."""
    if options.classes.others is not None:
        return []
    classes = options.classes
    return [
        f"line {number}: label {label!r} names no class; say what it is, --real {label} or --ai {label}"
        for number, _, label, _, _ in lines
        if not is_number(label) and classes.label(label) is None
    ]


def _problem(given: dict[str, Any]) -> str:
    """Why an entry cannot be used; "" where it can."""
    name, label, split = given["path"], given["label"], str(given["split"] or NO_SPLIT).strip().lower()
    if name in (None, ""):
        return f"no path; the columns are {COLUMNS}"
    if not isinstance(name, str):
        return f"the path is no text but {json.dumps(name)[:40]}"
    if "\0" in name:
        return "the path holds a zero byte"
    if len(name) > LONGEST_PATH:
        return f"the path has {len(name):,} characters"
    if label in (None, "") or isinstance(label, (dict, list)):
        return "no label; fill it in, or write unclear to leave the image out"
    return "" if split in SPLITS else f"split {split!r} is none of train, val, test"


def _resolved(folder: Path, name: str, is_recorded: bool) -> str:
    """Where an entry's image lies: relative to the list's folder or, of records and reviews, to the current one."""
    if hub.is_hub(name):
        return name
    if is_recorded and _MARKED.match(name):
        name = name[1:]
    found = os.path.join(folder, name)
    return name if is_recorded and not os.path.exists(place(found).file) and os.path.exists(place(name).file) else found


def _there(name: str, skipped: Skipped) -> bool:
    """Whether the file of an entry is there; if not, the entry is skipped."""
    return usable(place(name).file, skipped, any_suffix=True)
