"""Labelled images of a data set, whatever its layout: a sorted list, the same on every machine."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ...runtime.core.errors import UsageError
from ...runtime.images.formats import IMAGE_SUFFIXES
from .generators import same_generators
from .layouts import LAYOUT_NAMES, LAYOUTS, assign, class_folders, detect, walk
from .lists import SUFFIXES as LIST_SUFFIXES
from .lists import read_list

log = logging.getLogger("cinemae.train")

SHOWN_SKIPS = 20
"""Skipped files named one by one in the log; the rest are counted (a million text files should not fill it)."""


@dataclass(frozen=True)
class Sample:
    """One labelled image.

    Attributes:
        path: the file.
        label: 1 AI-generated, 0 real.
        generator: the generator whose part of the data set holds the image; real images have one too.
        split: "train", "val" or "test".
    """

    path: Path
    label: int
    generator: str
    split: str


@dataclass
class SkipLog:
    """Files that were left out; a file is never replaced by another sample.

    Attributes:
        skipped: path and reason of each.
    """

    skipped: list[tuple[Path, str]] = field(default_factory=list)

    def add(self, path: Path, reason: str) -> None:
        """Record one file and name it in the log."""
        self.skipped.append((path, reason))
        if len(self.skipped) <= SHOWN_SKIPS:
            log.warning("skipped: %s", reason if str(path) in reason else f"{path}: {reason}")

    def summary(self) -> str:
        """One line with the count, "" where nothing was skipped."""
        return f"{len(self.skipped):,} files skipped" if self.skipped else ""


def read_samples(
    root: Path,
    *,
    layout: str = "auto",
    split: str | None = None,
    generators: Sequence[str] | None = None,
    skipped: SkipLog | None = None,
) -> list[Sample]:
    """Read all images of a data set, sorted by generator, split, label and path.

    Files are not opened: damaged ones are found when they are decoded. Empty files and files of other kinds are left
    out and named in the log.

    Args:
        root: folder of the data set, or a list file.
        layout: one of `LAYOUT_NAMES`; `auto` detects it.
        split: read this split alone.
        generators: read these generators alone, in any spelling (`generators.canonical`).
        skipped: receives the files that are left out.

    Raises:
        UsageError: `root` is missing or empty, its layout is unknown or ambiguous, or it lacks the split or a
            generator.
    """
    root = Path(root)
    skips = skipped if skipped is not None else SkipLog()
    if layout not in LAYOUT_NAMES:
        raise UsageError(f"unknown layout {layout!r}; there are: {', '.join(LAYOUT_NAMES)}")
    if not root.exists():
        raise UsageError(f"{root}: no such file or folder")
    samples = _from_list(root, skips) if _is_list(root, layout) else _from_folders(root, layout, skips)
    if skips.skipped:
        log.warning("%s: %s", root, skips.summary())
    if not samples:
        why = skips.summary() or "all folders are empty"
        raise UsageError(f"{root}: the layout fits, but there is no image in it ({why})")
    samples = _chosen(root, samples, split, generators)
    labels = {sample.label for sample in samples}
    if len(labels) == 1:
        only = "AI-generated" if 1 in labels else "real"
        log.warning("%s: every image is %s; accuracy of one class alone says little", root, only)
    return sorted(samples, key=lambda s: (s.generator, s.split, s.label, s.path))


def _is_list(root: Path, layout: str) -> bool:
    if layout == "list" or (layout == "auto" and root.is_file()):
        if root.suffix.lower() not in LIST_SUFFIXES or not root.is_file():
            raise UsageError(f"{root}: a list is a file ending in {', '.join(LIST_SUFFIXES)}")
        return True
    return False


def _from_list(root: Path, skips: SkipLog) -> list[Sample]:
    samples = []
    for entry in read_list(root):
        reason = _unusable(entry.path, any_suffix=True)
        if reason:
            skips.add(entry.path, reason)
        else:
            samples.append(Sample(*entry))
    return samples


def _from_folders(root: Path, layout: str, skips: SkipLog) -> list[Sample]:
    if not root.is_dir():
        raise UsageError(f"{root}: is a file; layout {layout} wants a folder ({LAYOUTS[layout].example})")
    classes = class_folders(root)
    chosen = detect(root, classes) if layout == "auto" else LAYOUTS[layout]
    folders = assign(root, classes, chosen)
    if not folders:
        raise UsageError(f"{root}: nothing fits layout {chosen.name} ({chosen.example})")
    samples = []
    for folder in folders:
        for inside, _, files in walk(folder.path):
            for name in files:
                path = inside / name
                reason = _unusable(path)
                if reason:
                    skips.add(path, reason)
                else:
                    samples.append(Sample(path, folder.label, folder.generator, folder.split))
    return samples


def _unusable(path: Path, any_suffix: bool = False) -> str | None:
    """Why a file cannot be an image, without opening it; None if it may be one."""
    if not any_suffix and path.suffix.lower() not in IMAGE_SUFFIXES:
        return "not an image (by its suffix)"
    try:
        size = path.stat().st_size
    except OSError as error:
        return f"cannot be read ({error.strerror})"
    return None if size else "empty file"


def _chosen(root: Path, samples: list[Sample], split: str | None, generators: Sequence[str] | None) -> list[Sample]:
    if generators is not None:
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
