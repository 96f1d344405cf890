"""Labelled images inside files: rows of Parquet and Arrow tables, samples of webdataset tars, here or on the hub.

Column names, splits and class names are taken as `datasets` and the data sets' cards write them; `--columns`, `--real`
and `--ai` settle the rest. No image is read: of a table only the columns of labels are.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ...runtime.core.errors import UsageError
from . import hub
from .classes import NAMES, is_number, plain
from .layouts import SPLITS, root_name
from .options import Data
from .sample import AI, Sample
from .splits import DEFAULT_SPLIT, chosen_files, split_of
from .tables import TABLE_SUFFIXES, Table
from .tars import tar_index

SUFFIXES = (*TABLE_SUFFIXES, ".tar")
USUAL = {
    "label": ("label", "labels", "class", "cls", "is_ai", "is_fake"),
    "generator": ("generator", "model", "model_name", "generator_name"),
    "split": ("split",),
}
"""Columns by what they hold, where `--columns` does not say."""


class DataFile(NamedTuple):
    """A file of a data set.

    Attributes:
        name: where it lies.
        inside: its path in the data set.
        split: the split that the card or the path names; "" for none.
    """

    name: str
    inside: str
    split: str


class Entry(NamedTuple):
    """A labelled image before its label is known.

    Attributes:
        name: where it lies.
        label: what the data set says.
        generator: what the data set says; "" for nothing.
        split: train, val or test.
    """

    name: str
    label: str
    generator: str
    split: str


def from_packed(root: str, options: Data) -> list[Sample]:
    """The images of a table, a tar, a folder of them, or a data set on the hub, in the order in which they lie there.

    Raises:
        UsageError: no such files; which column is which cannot be told; a label is a number or an unknown name.
        CinemaeError: the hub cannot be reached.
    """
    source, files = _hub_files(root) if hub.is_hub(root) else _local_files(Path(root))
    entries = [entry for file in files for entry in _entries(file, options)]
    labels = options.classes.settle({entry.label for entry in entries}, root)
    return [
        Sample(entry.name, labels[entry.label], _generator(entry, labels[entry.label], source, options), entry.split)
        for entry in entries
    ]


def _generator(entry: Entry, label: int, source: str, options: Data) -> str:
    """What the data set says; else the label where an option calls it a generator; else the name of the data set."""
    is_named = options.classes.named(entry.label) == AI or options.classes.others == AI
    is_generator = label == AI and is_named and plain(entry.label) not in NAMES and not is_number(entry.label)
    return entry.generator or (entry.label if is_generator else source)


def _local_files(root: Path) -> tuple[str, list[DataFile]]:
    """Name of the data set, and its files."""
    if root.is_file():
        split = split_of(root.name) or SPLITS.get(root.resolve().parent.name.lower(), "")
        return re.split(r"[-_.]\d", root.stem)[0] or root.stem, [DataFile(str(root), root.name, split)]
    paths = sorted(path.relative_to(root).as_posix() for path in packed_files(root))
    card = root / "README.md"
    chosen = chosen_files(str(root), paths, "", str(card) if card.is_file() else None)
    return root_name(root), [DataFile(str(root / path), path, split) for path, split in chosen]


def packed_files(root: Path) -> Iterator[Path]:
    """The tables and tars below a folder; hidden folders, such as a download's `.cache`, are not searched."""
    for folder, folders, files in os.walk(root):
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield from (Path(folder, name) for name in files if name.lower().endswith(SUFFIXES) and name[0] != ".")


def _hub_files(root: str) -> tuple[str, list[DataFile]]:
    address, paths = hub.files_of(hub.parse(root))
    data = [path for path in paths if path.lower().endswith(SUFFIXES)]
    if not data:
        kinds = ", ".join(SUFFIXES)
        raise UsageError(
            f"{root}: holds no {kinds}; download it and give its folder: hf download --repo-type dataset "
            f"{address.repo} --local-dir DIR"
        )
    card = hub.local(address.file("README.md")) if "README.md" in paths else None
    chosen = chosen_files(root, data, address.inside, card)
    return address.repo.partition("/")[2], [DataFile(address.file(path), path, split) for path, split in chosen]


def _entries(file: DataFile, options: Data) -> Iterator[Entry]:
    return (_tar_entries if file.inside.lower().endswith(".tar") else _table_entries)(file, options)


def _table_entries(file: DataFile, options: Data) -> Iterator[Entry]:
    table = Table(hub.for_labels(file.name) if hub.is_hub(file.name) else file.name, file.inside)
    given, names, images = options.named_columns, list(table.schema.names), table.images()
    used = {kind: _column(file.name, names, given.get(kind, ""), USUAL[kind]) for kind in USUAL}
    try:
        image = table.image_column(given.get("image", ""))
    except UsageError as error:
        raise UsageError(f"{file.name}: {error}; --columns image=COLUMN") from None
    if used["label"] is None and (wide := _wide(file, images, options)):
        rows = sum(table.counts)
        for row in range(rows):
            for column in wide:
                yield Entry(f"{file.name}#{row}:{column}", column, "", _split(file, None))
        return
    said = _said_by_path(file.inside, options) if used["label"] is None else None
    if used["label"] is None and said is None:
        raise UsageError(_no_label(file.name, names))
    if image is None:
        raise UsageError(
            f"{file.name}: which column holds the images? Of bytes are: {', '.join(images) or 'none'} (all columns: "
            f"{', '.join(names)}); name it, --columns image=COLUMN"
        )
    suffix = f":{image}" if given.get("image") and image != table.image_column("") else ""
    columns = [name for name in used.values() if name is not None]
    at = {kind: columns.index(name) for kind, name in used.items() if name is not None}
    every = table.values(columns) if columns else (() for _ in range(sum(table.counts)))
    for row, values in enumerate(every):
        label, generator, split = (values[at[kind]] if kind in at else None for kind in ("label", "generator", "split"))
        text = _text(label) if said is None else said
        yield Entry(f"{file.name}#{row}{suffix}", text, _source(generator, file), _split(file, split))


def _tar_entries(file: DataFile, options: Data) -> Iterator[Entry]:
    index = tar_index(hub.local(file.name) if hub.is_hub(file.name) else file.name)
    given = options.named_columns
    for images, fields in index.samples():
        names = list(fields)
        label, generator, split = (
            fields.get(column) if (column := _column(file.name, names, given.get(kind, ""), USUAL[kind])) else None
            for kind in ("label", "generator", "split")
        )
        chosen = {kind: name for kind, name in images.items() if given.get("image", kind) == kind}
        wide = len(chosen) > 1 and label is None
        for kind, member in chosen.items():
            said = kind.rpartition(".")[0] if wide else _said_by_path(f"{file.inside}/{member}", options)
            if label is None and said is None:
                raise UsageError(_no_label(f"{file.name}::{member}", names))
            text = str(said) if label is None else _text(label)
            yield Entry(f"{file.name}::{member}", text, _source(generator, file), _split(file, split))


def _column(where: str, names: Sequence[str], given: str, usual: Sequence[str]) -> str | None:
    """The column that holds something: the one that the user named, else a usual one.

    Raises:
        UsageError: there is no column of that name.
    """
    if given and given not in names:
        raise UsageError(f"{where}: no column {given!r}; its columns are: {', '.join(names)}")
    lower = {name.lower(): name for name in names}
    return given or next((lower[name] for name in usual if name in lower), None)


def _wide(file: DataFile, images: Sequence[str], options: Data) -> list[str]:
    """Columns of images that are classes by their names, such as coco_image and sdxl_image; [] for other tables."""
    classes = options.classes
    if len(images) < 2 or not any(classes.label(name) is not None for name in images):
        return []
    unknown = [name for name in images if classes.label(name) is None] if classes.others is None else []
    if unknown:
        raise UsageError(
            f"{file.name}: columns of images whose class is unknown: {', '.join(unknown)}; say what they are, --ai "
            f"{unknown[0]} or --real {unknown[0]}, or --ai '*': every other column is a generator"
        )
    return list(images)


def _said_by_path(path: str, options: Data) -> str | None:
    """The last part of a path that names a class, without suffixes; None where no part does."""
    parts = [part.split(".")[0] for part in path.split("/")]
    return next((part for part in reversed(parts) if options.classes.label(part) is not None), None)


def _no_label(where: str, names: Sequence[str]) -> str:
    return (
        f"{where}: which column holds the label? There are: {', '.join(names) or 'none'}; name it, --columns "
        "label=COLUMN; columns of images that are classes themselves: --real COLUMN --ai '*'; a file of one class: "
        "--ai NAME or --real NAME, a part of its path"
    )


def _text(label: Any) -> str:
    return "" if label is None else str(label)


def _source(generator: Any, file: DataFile) -> str:
    """The generator; where no column says, the name of a split that is none: some sets have a split a generator."""
    if generator not in (None, ""):
        return str(generator)
    return file.split if file.split and file.split.lower() not in SPLITS else ""


def _split(file: DataFile, value: Any) -> str:
    """The split of an image: its own where a column says, else its file's."""
    named = str(value or "").strip().lower()
    return SPLITS.get(named) or SPLITS.get(file.split.lower(), DEFAULT_SPLIT)
