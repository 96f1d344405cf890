"""Images in folders whose names say the class. What the names do not settle is an error with the option that does."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from ...runtime.core.errors import UsageError
from ...runtime.images.formats import has_image_suffix
from ...runtime.images.system_files import is_system_file, is_system_name
from .classes import NAMES, OTHERS, REAL, Classes, plain
from .layouts import (
    AIGC_ONLY,
    KNOWN,
    LAYOUTS,
    NO_SPLIT,
    PROGAN_CLASSES,
    SPLITS,
    Layout,
    generator_of,
    object_folders,
    root_name,
    split_off,
)
from .options import Data
from .sample import AI, Sample
from .skipped import Skipped, skip, usable

SHOWN = 5
ClassOf = Callable[[str], int | None]
"""Class of a folder's name, `classes.REAL` or `AI`; None where it names none."""
LIST_INSTEAD = "or give a list, a CSV or JSONL file with path,label[,generator[,split]]"


class ClassFolder(NamedTuple):
    """A folder of images of one class.

    Attributes:
        path: the folder.
        name: its name, in the form of `classes.plain`.
        label: of its images.
        is_generator: an option named it, so its name is a generator's or a collection's, not a class's.
    """

    path: Path
    name: str
    label: int
    is_generator: bool


def walk(root: Path) -> Iterator[tuple[Path, list[str], list[str]]]:
    """`os.walk` in sorted order; links to folders are followed, and no folder is visited twice.

    Hidden folders and what operating systems leave behind are left out.
    """
    seen: set[tuple[int, int]] = set()
    for folder, folders, files in os.walk(root, followlinks=True):
        stat = os.stat(folder)
        if (stat.st_dev, stat.st_ino) in seen:
            folders.clear()
            continue
        seen.add((stat.st_dev, stat.st_ino))
        folders[:] = sorted(name for name in folders if not (name.startswith(".") or is_system_name(name)))
        yield Path(folder), folders, sorted(name for name in files if not is_system_file(os.path.join(folder, name)))


def from_folder(root: Path, options: Data, skipped: Skipped) -> list[Sample]:
    """The images below `root`, unsorted.

    Raises:
        UsageError: the layout is unknown or ambiguous, a folder of images has no class, a class lies in another, or a
            split below a class.
    """
    if not root.is_dir():
        example = LAYOUTS[options.layout].example
        raise UsageError(f"{root}: is a file; layout {options.layout} wants a folder ({example})")
    class_of = _class_of(options)
    classes, loose = _search(root, options.classes, class_of)
    above = {parent for one in classes for parent in one.path.parents}
    if not classes:
        _no_class(root, options)
    outside = {folder: files for folder, files in loose.items() if folder not in above}
    left_out = {at: files for at, files in outside.items() if not _other_layout(at.relative_to(root), options)}
    if left_out:
        _left_out(root, left_out, classes)
    for folder, files in loose.items():
        for name in files if folder in above else ():
            skip(skipped, str(folder / name), "lies beside the folders of the classes, in none of them")
    layout = LAYOUTS[options.layout] if options.layout != "auto" else detect(root, classes)
    objects = object_folders({one.path.parent for one in classes}) if layout.real == "0_real" else set()
    return [
        image
        for one in classes
        for image in _images(one, _sample_of(root, one, layout, one.path.parent in objects), class_of, skipped)
    ]


def holds_labelled(root: Path, options: Data) -> bool:
    """Whether there is an image in a class folder below `root`."""
    classes, _ = _search(root, options.classes, _class_of(options))
    return any(has_image_suffix(name) for one in classes for _, _, files in walk(one.path) for name in files)


def _class_of(options: Data) -> ClassOf:
    """The class that a folder's name stands for: any of the known names, or those of the layout that was chosen."""
    classes = options.classes
    chosen = [LAYOUTS[options.layout]] if options.layout not in ("auto", "folders") else list(LAYOUTS.values())
    names = {plain(name): label for one in chosen for name, label in ((one.real, REAL), (one.fake, AI))}
    if len(chosen) > 1:
        names = {**NAMES, **names}

    def class_of(name: str) -> int | None:
        named = classes.named(name)
        return names.get(plain(name)) if named is None else named

    return class_of


def _search(
    root: Path, classes: Classes, class_of: ClassOf
) -> tuple[list[ClassFolder], dict[Path, list[str]]]:
    """The class folders below `root`, which are not searched, and the images that lie in none of them, by folder."""
    found: list[ClassFolder] = []
    loose: dict[Path, list[str]] = {}
    for folder, folders, files in walk(root):
        labels = {name: label for name in folders if (label := class_of(name)) is not None}
        generators = {name for name in labels if classes.named(name) is not None and plain(name) not in NAMES}
        if classes.others is not None and 1 - classes.others in labels.values():
            rest = [name for name in folders if name not in labels and name.lower() not in SPLITS]
            labels |= dict.fromkeys(rest, classes.others)
            generators |= set(rest)
        found += [ClassFolder(folder / name, plain(name), label, name in generators) for name, label in labels.items()]
        folders[:] = [name for name in folders if name not in labels]
        if images := [name for name in files if has_image_suffix(name)]:
            loose[folder] = images
    return found, loose


def _other_layout(folder: Path, options: Data) -> bool:
    """Whether a folder belongs to another layout than the one that was chosen: choosing leaves it out."""
    names = {plain(name) for one in LAYOUTS.values() for name in (one.real, one.fake)}
    return options.layout != "auto" and any(plain(part) in names for part in folder.parts)


def _no_class(root: Path, options: Data) -> None:
    if options.layout != "auto":
        raise UsageError(f"{root}: nothing fits layout {options.layout} ({LAYOUTS[options.layout].example})")
    known = "; ".join(f"{layout.name} {layout.example}" for layout in LAYOUTS.values())
    raise UsageError(
        f"{root}: no folder here is named as a class, so the labels are unknown. Say what the folders are, --real NAME "
        f"--ai NAME. Known layouts: {known}. {LIST_INSTEAD[0].upper()}{LIST_INSTEAD[1:]}."
    )


def _left_out(root: Path, folders: dict[Path, list[str]], classes: Sequence[ClassFolder]) -> None:
    """Raise UsageError: images would be left out. The names are those beside the class folders, where there are any."""
    beside = {one.path.parent for one in classes}
    counts: dict[Path, int] = {}
    for folder, files in folders.items():
        top = next((path for path in (folder, *folder.parents) if path.parent in beside), folder)
        counts[top] = counts.get(top, 0) + len(files)
    named = [f"{path.relative_to(root).as_posix()} ({count:,} images)" for path, count in counts.items()]
    shown = ", ".join(named[:SHOWN])
    more = f" and {len(counts) - SHOWN:,} more" if len(counts) > SHOWN else ""
    name = next(iter(counts)).name
    raise UsageError(
        f"{root}: folders whose names are no class would be left out: {shown}{more}. Say what they are: --ai {name} "
        f"(or --real {name}) for each, or --ai '{OTHERS}': every folder beside one of real images is a generator; "
        f"{LIST_INSTEAD}"
    )


def detect(root: Path, classes: Sequence[ClassFolder]) -> Layout:
    """Tell which layout the class folders follow; any other mix of names of both classes is layout "folders".

    Args:
        root: the data set's folder.
        classes: the class folders.

    Raises:
        UsageError: they follow more than one layout.
    """
    names = {one.name for one in classes}
    sharing = [layout for layout in LAYOUTS.values() if names <= {layout.real, layout.fake}]
    if not sharing:
        beside: dict[Path, set[str]] = {}
        for one in classes:
            beside.setdefault(one.path.parent, set()).add(one.name)
        fitting = [one for one in LAYOUTS.values() if {one.real, one.fake} in beside.values()]
        if len({(layout.real, layout.fake) for layout in fitting}) > 1 and not any(one.is_generator for one in classes):
            kinds = " and ".join(sorted({f"{{{layout.real},{layout.fake}}}" for layout in fitting}))
            choices = ", ".join(layout.name for layout in fitting)
            raise UsageError(
                f"{root}: ambiguous, the folder holds class folders of several layouts ({kinds}). Give one data set, "
                f"or choose with --layout ({choices}); folders of other layouts are then left out."
            )
        return LAYOUTS["folders"]
    if len({(layout.real, layout.fake) for layout in sharing}) > 1 or sharing[0].real != "0_real":
        return sharing[0]
    inner = [split_off(one.path.parent.relative_to(root).parts)[0] for one in classes]
    if not any(inner) and root_name(root).lower() not in KNOWN:
        return LAYOUTS["chameleon"]
    tops = {parts[0].lower() for parts in inner if parts} | {root_name(root).lower()}
    return LAYOUTS["aigcdetect" if tops & AIGC_ONLY else "forensynths"]


def _sample_of(root: Path, one: ClassFolder, layout: Layout, is_object: bool) -> Sample:
    """The sample that the images of a class folder are, but for their paths."""
    parts, split = split_off((one.path.parent.parent if is_object else one.path.parent).relative_to(root).parts)
    split = split or split_off(root.resolve().parts[-1:])[1] or NO_SPLIT
    named = one.is_generator and one.label == AI
    generator = one.path.name if named else generator_of(root, parts, layout, is_object)
    return Sample(str(one.path), one.label, generator, split)


def _images(
    one: ClassFolder, sample: Sample, class_of: ClassOf, skipped: Skipped
) -> Iterator[Sample]:
    """The images of a class folder.

    Raises:
        UsageError: a class or a split lies in it.
    """
    for folder, folders, files in walk(one.path):
        if nested := [name for name in folders if class_of(name) is not None]:
            fix = "move it out, or choose the names of the classes with --layout"
            inside = folder / nested[0]
            raise UsageError(f"{inside}: is named as a class and lies in the class folder {one.path}; {fix}")
        splits = [name for name in folders if name.lower() in SPLITS] if folder == one.path else []
        if splits and not {name.lower() for name in folders} & (set(PROGAN_CLASSES) - set(SPLITS)):
            wanted = one.path.parent / splits[0] / one.path.name
            raise UsageError(f"{folder / splits[0]}: is a split below a class; move it to {wanted}, {LIST_INSTEAD}")
        for path in (os.path.join(folder, name) for name in files):
            if usable(path, skipped):
                yield sample._replace(path=path)
