"""Labelled images of a data set, whatever its layout: a sorted list, the same on every machine."""

from __future__ import annotations

import logging
import os
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from ...runtime.core.errors import UsageError
from ...runtime.images.formats import IMAGE_SUFFIXES
from .generators import canonical, same_generators
from .layouts import LAYOUT_NAMES, LAYOUTS, assign, class_folders, detect, walk
from .lists import SUFFIXES as LIST_SUFFIXES
from .lists import read_list
from .sample import Sample

log = logging.getLogger("cinemae.train")

SHOWN_SKIPS = 20
"""Skipped files named one by one in the log; the rest are counted (a million text files should not fill it)."""
Skipped = list[tuple[str, str]]
"""Path and reason of files that were left out; a file is never replaced by another sample."""


def skip(skipped: Skipped, path: str, reason: str) -> None:
    """Record a file that is left out, and name it in the log."""
    skipped.append((path, reason))
    if len(skipped) <= SHOWN_SKIPS:
        log.warning("skipped: %s", reason if path in reason else f"{path}: {reason}")


def read_samples(
    root: Path | str, *, layout: str = "auto", split: str | None = None, generators: Sequence[str] = (),
    skipped: Skipped | None = None,
) -> list[Sample]:
    """Read all images of a data set, sorted by generator, split, label and path.

    Files are not opened: damaged ones are found when they are decoded. Empty files and files of other kinds are left
    out and named in the log.

    Args:
        root: folder of the data set, or a list file.
        layout: one of `LAYOUT_NAMES`; `auto` detects it.
        split: read this split alone.
        generators: read these generators alone, in any spelling (`generators.canonical`); all where none is named.
        skipped: receives the files that are left out.

    Raises:
        UsageError: `root` is missing or empty, its layout is unknown or ambiguous, or it lacks the split or a
            generator.
    """
    root = Path(root)
    skipped = [] if skipped is None else skipped
    if layout not in LAYOUT_NAMES:
        raise UsageError(f"unknown layout {layout!r}; there are: {', '.join(LAYOUT_NAMES)}")
    if not root.exists():
        raise UsageError(f"{root}: no such file or folder")
    samples = _from_list(root, skipped) if _is_list(root, layout) else _from_folders(root, layout, skipped)
    count = f"{len(skipped):,} files skipped"
    if skipped:
        log.warning("%s: %s", root, count)
    if not samples:
        why = count if skipped else "all folders are empty"
        raise UsageError(f"{root}: the layout fits, but there is no image in it ({why})")
    samples = _chosen(root, samples, split, generators)
    if len({sample.label for sample in samples}) == 1:
        only = "AI-generated" if samples[0].label else "real"
        log.warning("%s: every image is %s; accuracy of one class alone says little", root, only)
    return sorted(samples, key=lambda s: (*s.cell, s.path))


def read_all(
    roots: Sequence[Path], *, layout: str = "auto", split: str | None = None, generators: Sequence[str] = ()
) -> list[Sample]:
    """The samples of several data sets, in their order; each generator is spelled as where it comes first."""
    spelling: dict[str, str] = {}
    return [
        sample._replace(generator=spelling.setdefault(canonical(sample.generator), sample.generator))
        for root in roots
        for sample in read_samples(root, layout=layout, split=split, generators=generators)
    ]


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


def _is_list(root: Path, layout: str) -> bool:
    if layout == "list" or (layout == "auto" and root.is_file()):
        if root.suffix.lower() not in LIST_SUFFIXES or not root.is_file():
            raise UsageError(f"{root}: a list is a file ending in {', '.join(LIST_SUFFIXES)}")
        return True
    return False


def _from_list(root: Path, skipped: Skipped) -> list[Sample]:
    return [sample for sample in read_list(root) if _usable(sample.path, skipped, any_suffix=True)]


def _from_folders(root: Path, layout: str, skipped: Skipped) -> list[Sample]:
    if not root.is_dir():
        raise UsageError(f"{root}: is a file; layout {layout} wants a folder ({LAYOUTS[layout].example})")
    classes = class_folders(root)
    chosen = detect(root, classes) if layout == "auto" else LAYOUTS[layout]
    folders = assign(root, classes, chosen)
    if not folders:
        raise UsageError(f"{root}: nothing fits layout {chosen.name} ({chosen.example})")
    return [
        folder._replace(path=path)
        for folder in folders
        for inside, _, files in walk(Path(folder.path))
        for path in (os.path.join(inside, name) for name in files)
        if _usable(path, skipped)
    ]


def _usable(path: str, skipped: Skipped, any_suffix: bool = False) -> bool:
    """Whether a file may be an image, without opening it; if not, the file is skipped with the reason."""
    if not any_suffix and os.path.splitext(path)[1].lower() not in IMAGE_SUFFIXES:
        reason: str | None = "not an image (by its suffix)"
    else:
        try:
            reason = None if os.path.getsize(path) else "empty file"
        except OSError as error:
            reason = f"cannot be read ({error.strerror})"
    if reason:
        skip(skipped, path, reason)
    return reason is None


def _chosen(root: Path, samples: list[Sample], split: str | None, generators: Sequence[str]) -> list[Sample]:
    if generators:
        there = {sample.generator for sample in samples}
        chosen, unknown = same_generators(generators, there)
        if unknown:
            raise UsageError(f"{root}: no generator {', '.join(unknown)}; there are: {', '.join(sorted(there))}")
        samples = [sample for sample in samples if sample.generator in chosen]
    if split is not None:
        splits = sorted({s.split for s in samples})
        samples = [s for s in samples if s.split == split]
        if not samples:
            fix = "; a list without a column split is all test: add one, of train, val, test" if root.is_file() else ""
            raise UsageError(f"{root}: no split {split!r}; there are: {', '.join(splits)}{fix}")
    return samples
