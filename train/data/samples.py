"""Labelled images of data sets, whatever their form: a sorted list, the same on every machine."""

from __future__ import annotations

import hashlib
import logging
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from ...runtime.core.errors import ImageError, UsageError
from ...runtime.core.read_ahead import read_ahead
from . import hub
from .folders import from_folder, holds_labelled
from .generators import canonical, same_generators
from .lists import SUFFIXES as LIST_SUFFIXES
from .lists import from_list
from .options import Data, Subset
from .packed import SUFFIXES as PACKED_SUFFIXES
from .packed import from_packed, packed_files
from .sample import Sample
from .skipped import Skipped, skip
from .stored import in_reading_order

log = logging.getLogger("cinemae.train")

CLASS_NAMES = {0: "real", 1: "AI-generated"}


def read_data(options: Data, skipped: Skipped | None = None) -> list[Sample]:
    """Read the samples of all DATA, in their order; those of each are sorted by generator, split, label and path.

    Images are not opened, except for `--test-share`: damaged ones are found when they are decoded. Empty files and
    files of other kinds are left out and named in the log. A generator is spelled as where it comes first.

    Args:
        options: which data, and what its names mean.
        skipped: receives the files that are left out.

    Raises:
        UsageError: data is missing or empty, its layout is unknown or ambiguous, a label cannot be told, a split lacks
            a class, or the data lacks the split or a generator that was asked for.
        CinemaeError: the hub cannot be reached.
    """
    skipped = [] if skipped is None else skipped
    before = len(skipped)
    spelling: dict[str, str] = {}
    samples = [
        sample._replace(generator=spelling.setdefault(canonical(sample.generator), sample.generator))
        for samples in _with_test(options, [_read(root, options, skipped) for root in options.data], skipped)
        for sample in sorted(samples, key=lambda one: (*one.cell, one.path))
    ]
    if len(skipped) > before:
        log.warning("%s: %s files skipped", ", ".join(options.data), f"{len(skipped) - before:,}")
    return _chosen(samples, options)


def read_samples(root: Path | str, *, skipped: Skipped | None = None, **options: Any) -> list[Sample]:
    """`read_data` of one data set; `options` are fields of `Subset`."""
    return read_data(Subset(data=(str(root),), **options), skipped)


def reading_order(samples: Sequence[Sample]) -> list[Sample]:
    """The samples so that every table and archive is read once, from front to back; files keep their order."""
    return [samples[position] for position in in_reading_order([sample.path for sample in samples])]


def thin(samples: Sequence[Sample], limit: int) -> list[Sample]:
    """Keep at most `limit` samples of each generator, split and class, evenly spaced in their order; 0 keeps all.

    Raises:
        UsageError: the limit is negative.
    """
    if limit < 0:
        raise UsageError(f"--limit must be 0 (all) or more, got {limit}")
    cells: dict[tuple[str, str, int], list[Sample]] = defaultdict(list)
    for sample in samples:
        cells[sample.cell].append(sample)
    chosen = []
    for cell in cells.values():
        kept = min(limit or len(cell), len(cell))
        chosen += [cell[i * len(cell) // kept] for i in range(kept)]
    return chosen


def _read(root: str, options: Data, skipped: Skipped) -> list[Sample]:
    path, before = Path(root), len(skipped)
    if hub.is_hub(root):
        samples = from_packed(root, options)
    elif not path.exists():
        raise UsageError(f"{root}: no such file or folder")
    elif path.is_file() and options.layout in ("auto", "list") and path.suffix.lower() in LIST_SUFFIXES:
        samples = from_list(path, options, skipped)
    elif path.is_file() and options.layout == "auto" and root.lower().endswith(PACKED_SUFFIXES):
        samples = from_packed(root, options)
    elif options.layout == "list" or (path.is_file() and options.layout == "auto"):
        packed = ", ".join(PACKED_SUFFIXES)
        lists = ", ".join(LIST_SUFFIXES)
        raise UsageError(f"{root}: a list is a file ending in {lists}; images in files end in {packed}")
    elif options.layout == "auto" and _is_packed(path, options):
        samples = from_packed(root, options)
    else:
        samples = from_folder(path, options, skipped)
    if not samples:
        count = len(skipped) - before
        why = f"{count:,} files skipped" if count else "all folders are empty"
        raise UsageError(f"{root}: the layout fits, but there is no image in it ({why})")
    return samples


def _is_packed(folder: Path, options: Data) -> bool:
    """Whether a folder holds tables or tars, such as a data set that was downloaded, and no folders of classes."""
    return next(packed_files(folder), None) is not None and not holds_labelled(folder, options)


def _with_test(options: Data, parts: list[list[Sample]], skipped: Skipped) -> list[list[Sample]]:
    """Give `--test-share` of every set without a test split of its own to split test, by content: copies stay together.

    Raises:
        UsageError: every set has several splits.
    """
    if not options.test_share:
        return parts
    alone = [len({sample.split for sample in samples}) == 1 for samples in parts]
    if not any(alone):
        splits = ", ".join(sorted({sample.split for samples in parts for sample in samples}))
        raise UsageError(f"--test-share is for data of a single split; this data has {splits}: leave it out")
    return [_divided(samples, options.test_share, skipped) if one else samples
            for samples, one in zip(parts, alone, strict=True)]


def _divided(samples: Sequence[Sample], share: float, skipped: Skipped) -> list[Sample]:
    found = []
    with ThreadPoolExecutor(2, thread_name_prefix="hash") as pool:
        for sample, content in read_ahead(pool, _content, reading_order(samples), 8):
            try:
                is_test = int(content.result()[:16], 16) < share * 2**64
            except ImageError as error:
                skip(skipped, sample.path, str(error))
            else:
                found.append(sample._replace(split="test" if is_test else "train"))
    return found


def _content(sample: Sample) -> str:
    return hashlib.sha256(sample.read()).hexdigest()


def _chosen(samples: list[Sample], options: Data) -> list[Sample]:
    """The samples of the split and the generators that were asked for; every split must have both classes."""
    roots = ", ".join(options.data)
    split, generators = (getattr(options, name, default) for name, default in (("split", None), ("generator", ())))
    if split is not None:
        splits = sorted({sample.split for sample in samples})
        samples = [sample for sample in samples if sample.split == split]
        if not samples:
            is_list = any(root.lower().endswith(LIST_SUFFIXES) for root in options.data)
            fix = "; a list without a column split is all test: add one, of train, val, test, or" if is_list else ";"
            raise UsageError(
                f"{roots}: no split {split!r}; there are: {', '.join(splits)}{fix} --test-share 0.1 makes both of one"
            )
    for name in sorted({sample.split for sample in samples}):
        labels = {sample.label for sample in samples if sample.split == name}
        if len(labels) == 1:
            only, other = CLASS_NAMES[min(labels)], CLASS_NAMES[1 - min(labels)]
            raise UsageError(
                f"{roots}: every image of split {name} is {only}; figures and fits need both classes: add {other} "
                "images (several DATA are read as one), check the names of folders and labels, or read another --split"
            )
    if generators:
        there = {sample.generator for sample in samples}
        chosen, unknown = same_generators(generators, there)
        if unknown:
            raise UsageError(f"{roots}: no generator {', '.join(unknown)}; there are: {', '.join(sorted(there))}")
        samples = [sample for sample in samples if sample.generator in chosen]
    return samples
