"""Lists of labelled images: CSV with a header, or JSONL, with path, label and, if known, generator and split."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from ...runtime.core.errors import UsageError
from .layouts import NO_SPLIT, SPLITS
from .sample import AI, REAL, Sample

SUFFIXES = (".csv", ".jsonl", ".ndjson")
LABELS = {"0": REAL, "real": REAL, "nature": REAL, "0_real": REAL, "1": AI, "ai": AI, "fake": AI, "1_fake": AI}
UNNAMED = "unnamed"
"""Generator of an image where the list does not say."""
COLUMNS = "path,label[,generator[,split]]"
NEEDED = ("path", "label")


def _records(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Line number and fields of each entry; blank lines are left out."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        if path.suffix.lower() == ".csv":
            reader = csv.DictReader(file)
            if missing := missing_names(reader.fieldnames or ()):
                there = f"its columns are: {', '.join(reader.fieldnames)}" if reader.fieldnames else "it is empty"
                raise UsageError(
                    f"{path}: no column {missing}; {there}; the first line of a list names its columns, {COLUMNS}, "
                    "separated by commas"
                )
            for record in reader:
                yield reader.line_num, {str(key).strip().lower(): value for key, value in record.items()}
            return
        for number, line in enumerate(file, 1):
            if line.strip():
                try:
                    record = json.loads(line)
                except ValueError as error:
                    raise UsageError(f"{path}, line {number}: not JSON ({error})") from None
                if not isinstance(record, dict):
                    raise UsageError(f'{path}, line {number}: want an object such as {{"path": "a.jpg", "label": 1}}')
                if missing := missing_names(record):
                    there = ", ".join(record) or "none"
                    raise UsageError(
                        f"{path}, line {number}: no field {missing}; its fields are: {there}; a list has {COLUMNS}"
                    )
                yield number, record


def missing_names(names: Iterable[str]) -> str:
    """The names of `NEEDED` that are no columns or fields, in words; "" where none is missing."""
    there = {name.strip().lower() for name in names}
    return " and ".join(name for name in NEEDED if name not in there)


def read_list(path: Path) -> list[Sample]:
    """Read all entries, in file order; a relative path is taken from the folder of the list.

    Raises:
        UsageError: a column is missing (the message names those there), or a line has no path, or an unknown label
            or split; the message names the line.
    """
    samples = []
    try:
        for number, record in _records(path):
            name, label = record.get("path"), str(record.get("label", "")).strip().lower()
            if not name:
                raise UsageError(f"{path}, line {number}: no path; the columns are {COLUMNS}")
            if label not in LABELS:
                raise UsageError(f"{path}, line {number}: label {label!r} is none of {', '.join(LABELS)}")
            generator = str(record.get("generator") or UNNAMED)
            split = str(record.get("split") or NO_SPLIT).lower()
            if split not in SPLITS:
                raise UsageError(f"{path}, line {number}: split {split!r} is none of train, val, test")
            samples.append(Sample(str(path.parent / name), LABELS[label], generator, SPLITS[split]))
    except UnicodeDecodeError:
        raise UsageError(f"{path}: not UTF-8 text") from None
    return samples
