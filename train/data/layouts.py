"""The folder layouts of published benchmarks, and the detection of a folder's layout."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ...runtime.core.errors import UsageError
from .sample import AI, REAL, Sample

SPLITS = {
    "train": "train", "training": "train",
    "val": "val", "valid": "val", "validation": "val",
    "test": "test", "testing": "test",
    "progan_train": "train", "progan_val": "val", "cnn_synth_testset": "test",
}
"""Folders that name a split, those of the ForenSynths archives included."""
NO_SPLIT = "test"
"""Split of trees that have no split folder, such as AIGCDetectBenchmark and Chameleon, which are test sets."""


@dataclass(frozen=True)
class Layout:
    """Folder layout of a family of data sets.

    Attributes:
        name: value of `--layout`.
        real: name of the folder of real images, in lower case; folders compare without regard to case.
        fake: the same of AI-generated images.
        example: the tree, for messages.
    """

    name: str
    real: str
    fake: str
    example: str


LAYOUTS = {
    layout.name: layout
    for layout in (
        Layout("genimage", "nature", "ai", "<generator>/[<archive>/]{train,val}/{ai,nature}"),
        Layout(
            "forensynths",
            "0_real",
            "1_fake",
            "{progan_train,progan_val,train,val}/<class>/{0_real,1_fake} and "
            "{CNN_synth_testset,test}/<generator>/[<class>/]{0_real,1_fake}",
        ),
        Layout("aigcdetect", "0_real", "1_fake", "[test/]<one of the 16 generators>/[<class>/]{0_real,1_fake}"),
        Layout("chameleon", "0_real", "1_fake", "test/{0_real,1_fake}"),
        Layout("community", "real", "fake", "[{train,val,test}/]<generator>/{real,fake}"),
    )
}
LAYOUT_NAMES = ("auto", *LAYOUTS, "list")
"""The values of `--layout`."""

GENIMAGE_ARCHIVES = {
    "imagenet_ai_0508_adm": "ADM",
    "imagenet_ai_0419_biggan": "BigGAN",
    "imagenet_glide": "glide",
    "imagenet_midjourney": "Midjourney",
    "imagenet_ai_0419_sdv4": "stable_diffusion_v_1_4",
    "imagenet_ai_0424_sdv5": "stable_diffusion_v_1_5",
    "imagenet_ai_0419_vqdm": "VQDM",
    "imagenet_ai_0424_wukong": "wukong",
}
"""GenImage's archives unpack to these folders; by themselves they name the generator."""

AIGCDETECT = (
    "ProGAN", "StyleGAN", "BigGAN", "CycleGAN", "StarGAN", "GauGAN", "StyleGAN2", "whichfaceisreal",
    "ADM", "Glide", "Midjourney", "stable_diffusion_v_1_4", "stable_diffusion_v_1_5", "VQDM", "wukong", "DALLE2",
)
"""The sixteen generators of AIGCDetectBenchmark, in the order of the paper's Table 2."""

FORENSYNTHS = (
    "progan", "stylegan", "stylegan2", "biggan", "cyclegan", "stargan", "gaugan", "deepfake", "seeingdark", "san",
    "crn", "imle", "whichfaceisreal",
)

PROGAN = "progan"
PROGAN_CLASSES = (
    "airplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable", "dog", "horse",
    "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)
"""The LSUN categories of ForenSynths' ProGAN images, which are the folders of its training and validation sets."""

_AIGC_NAMES = {name.lower(): name for name in AIGCDETECT}
_AIGC_ONLY = set(_AIGC_NAMES) - set(FORENSYNTHS)
_KNOWN = set(_AIGC_NAMES) | set(FORENSYNTHS)


def is_hidden(name: str) -> bool:
    """Whether a name belongs to the files and folders that archives and file managers leave behind."""
    return name.startswith(".") or name == "__MACOSX"


def walk(root: Path) -> Iterator[tuple[Path, list[str], list[str]]]:
    """`os.walk` in sorted order; links to folders are followed, and no folder is visited twice."""
    seen: set[tuple[int, int]] = set()
    for folder, folders, files in os.walk(root, followlinks=True):
        stat = os.stat(folder)
        if (stat.st_dev, stat.st_ino) in seen:
            folders.clear()
            continue
        seen.add((stat.st_dev, stat.st_ino))
        folders[:] = sorted(name for name in folders if not is_hidden(name))
        yield Path(folder), folders, sorted(name for name in files if not is_hidden(name))


def class_folders(root: Path) -> list[tuple[Path, str]]:
    """Find the class folders of every layout below `root`; class folders are not searched themselves.

    Returns:
        Path and lower-case name of each. `root` itself is not among them, even if it is named as a class.
    """
    names = {name for layout in LAYOUTS.values() for name in (layout.real, layout.fake)}
    classes = []
    for folder, folders, _ in walk(root):
        here = [name for name in folders if name.lower() in names]
        classes += [(folder / name, name.lower()) for name in here]
        folders[:] = [name for name in folders if name not in here]
    return classes


def detect(root: Path, classes: list[tuple[Path, str]]) -> Layout:
    """Tell which layout the class folders follow.

    Args:
        root: the data set's folder.
        classes: the class folders, from `class_folders`.

    Raises:
        UsageError: there are none, or they follow more than one layout.
    """
    names = {name for _, name in classes}
    pairs = sorted({(layout.real, layout.fake) for layout in LAYOUTS.values() if names & {layout.real, layout.fake}})
    if not pairs:
        known = "; ".join(f"{layout.name} {layout.example}" for layout in LAYOUTS.values())
        raise UsageError(
            f"{root}: no folder here is named as a class, so the labels are unknown. Known layouts: {known}. "
            "Or give a list, a CSV or JSONL file with path,label[,generator[,split]]."
        )
    if len(pairs) > 1:
        kinds = " and ".join(f"{{{real},{fake}}}" for real, fake in pairs)
        fitting = ", ".join(layout.name for layout in LAYOUTS.values() if (layout.real, layout.fake) in pairs)
        raise UsageError(
            f"{root}: ambiguous, the folder holds class folders of several layouts ({kinds}). Give one data set, or "
            f"choose with --layout ({fitting}); folders of other layouts are then left out."
        )
    sharing = [layout for layout in LAYOUTS.values() if (layout.real, layout.fake) == pairs[0]]
    if len(sharing) == 1:
        return sharing[0]
    inner = [_split_off(path.parent.relative_to(root).parts)[0] for path, _ in classes]
    if not any(inner) and _root_name(root).lower() not in _KNOWN:
        return LAYOUTS["chameleon"]
    tops = {parts[0].lower() for parts in inner if parts} | {_root_name(root).lower()}
    return LAYOUTS["aigcdetect" if tops & _AIGC_ONLY else "forensynths"]


def assign(root: Path, classes: list[tuple[Path, str]], layout: Layout) -> list[Sample]:
    """The class folders that belong to the layout, each as the sample that its images are, but for their paths."""
    labels = {layout.real: REAL, layout.fake: AI}
    objects = _object_folders(classes) if layout.real == "0_real" else set()
    found = []
    for path, name in classes:
        if name in labels:
            is_object = path.parent in objects
            parts, split = _split_off((path.parent.parent if is_object else path.parent).relative_to(root).parts)
            split = split or _split_off(root.resolve().parts[-1:])[1] or NO_SPLIT
            found.append(Sample(str(path), labels[name], _generator(root, parts, layout, is_object), split))
    return found


def _object_folders(classes: list[tuple[Path, str]]) -> set[Path]:
    """Folders of object categories, such as airplane, below which the class folders lie.

    "train" is a category too: it is one where it stands beside another category, and a split elsewhere.
    """
    parents = {path.parent for path, _ in classes if path.parent.name.lower() in PROGAN_CLASSES}
    beside = {folder.parent for folder in parents if folder.name.lower() not in SPLITS}
    return {folder for folder in parents if folder.parent in beside}


def _split_off(parts: tuple[str, ...]) -> tuple[tuple[str, ...], str]:
    """Path parts without the folders that name a split, and the split of the last such folder, else ""."""
    splits = [SPLITS[part.lower()] for part in parts if part.lower() in SPLITS]
    return tuple(part for part in parts if part.lower() not in SPLITS), splits[-1] if splits else ""


def _root_name(root: Path) -> str:
    """Name of the data set's folder: the root, or its first parent that is no split."""
    root = root.resolve()
    while root.name.lower() in SPLITS and root.parent != root:
        root = root.parent
    return root.name


def _generator(root: Path, parts: tuple[str, ...], layout: Layout, is_object: bool) -> str:
    """Name of the generator: the first folder that names no split, or the root where that is the generator's folder."""
    own = _root_name(root)
    name = parts[0] if parts else own
    if is_object and not parts and own.lower() not in _KNOWN:
        name = PROGAN
    if layout.name == "genimage":
        return GENIMAGE_ARCHIVES.get(name.lower(), name)
    if layout.real == "0_real" and name.lower() not in _KNOWN and own.lower() in _KNOWN:
        name = own  # the root is one generator, and its folders are object classes
    return _AIGC_NAMES.get(name.lower(), name) if layout.name == "aigcdetect" else name
