"""The folder layouts of published benchmarks: names of their folders, and what a path says of split and generator."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

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
        real: name of the folder of real images, in the form of `classes.plain`.
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
        Layout("folders", "real", "ai", "[{train,val,test}/][<generator>/]{real,ai}, or other names of the classes"),
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
AIGC_ONLY = set(_AIGC_NAMES) - set(FORENSYNTHS)
KNOWN = set(_AIGC_NAMES) | set(FORENSYNTHS)


def object_folders(parents: Iterable[Path]) -> set[Path]:
    """Of the folders above class folders, those of object categories, such as airplane.

    "train" is a category too: it is one where it stands beside another category, and a split elsewhere.
    """
    inside = {path for path in parents if path.name.lower() in PROGAN_CLASSES}
    beside = {folder.parent for folder in inside if folder.name.lower() not in SPLITS}
    return {folder for folder in inside if folder.parent in beside}


def split_off(parts: tuple[str, ...]) -> tuple[tuple[str, ...], str]:
    """Path parts without the folders that name a split, and the split of the last such folder, else ""."""
    splits = [SPLITS[part.lower()] for part in parts if part.lower() in SPLITS]
    return tuple(part for part in parts if part.lower() not in SPLITS), splits[-1] if splits else ""


def root_name(root: Path) -> str:
    """Name of the data set's folder: the root, or its first parent that is no split."""
    root = root.resolve()
    while root.name.lower() in SPLITS and root.parent != root:
        root = root.parent
    return root.name


def generator_of(root: Path, parts: tuple[str, ...], layout: Layout, is_object: bool) -> str:
    """Name of the generator: the first folder that names no split, or the root where that is the generator's folder."""
    own = root_name(root)
    name = parts[0] if parts else own
    if is_object and not parts and own.lower() not in KNOWN:
        name = PROGAN
    if layout.name == "genimage":
        return GENIMAGE_ARCHIVES.get(name.lower(), name)
    if layout.real == "0_real" and name.lower() not in KNOWN and own.lower() in KNOWN:
        name = own  # the root is one generator, and its folders are object classes
    return _AIGC_NAMES.get(name.lower(), name) if layout.name == "aigcdetect" else name
