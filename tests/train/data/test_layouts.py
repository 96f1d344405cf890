"""Every published layout with its real folder names, detection, and files that are no images."""

from __future__ import annotations

import logging
from collections import Counter
from pathlib import Path

import pytest
from cinemae.runtime.core.errors import UsageError
from cinemae.train.data.generators import canonical
from cinemae.train.data.layouts import AIGCDETECT, GENIMAGE_ARCHIVES
from cinemae.train.data.sample import Sample
from cinemae.train.data.samples import read_all, read_samples

GENIMAGE_TREE = {
    "ADM": "imagenet_ai_0508_adm",
    "BigGAN": "imagenet_ai_0419_biggan",
    "glide": "imagenet_glide",
    "Midjourney": "imagenet_midjourney",
    "stable_diffusion_v_1_4": "imagenet_ai_0419_sdv4",
    "stable_diffusion_v_1_5": "imagenet_ai_0424_sdv5",
    "VQDM": "imagenet_ai_0419_vqdm",
    "wukong": "imagenet_ai_0424_wukong",
}


def describe(samples: list[Sample]) -> dict[tuple[str, str], tuple[int, int]]:
    """(generator, split) -> (AI, real) counts."""
    counts = Counter((s.generator, s.split, s.label) for s in samples)
    return {(g, s): (counts[g, s, 1], counts[g, s, 0]) for g, s, _ in counts}


def touch(path: Path) -> Path:
    """A file with one byte: the readers do not open images."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x")
    return path


def both(folder: Path, real: str, fake: str, suffix: str = ".png") -> None:
    touch(folder / real / f"r{suffix}")
    touch(folder / fake / f"f{suffix}")


def genimage(root: Path, inner: bool = True) -> Path:
    for generator, archive in GENIMAGE_TREE.items():
        for split in ("train", "val"):
            folder = root / generator / archive / split if inner else root / generator / split
            touch(folder / "ai" / "000_sdv4_00001.PNG")
            touch(folder / "nature" / "n01440764_10026.JPEG")
    return root


@pytest.mark.parametrize("inner", [True, False])
def test_genimage(tmp_path, inner):
    samples = read_samples(genimage(tmp_path, inner))
    assert {s.generator for s in samples} == set(GENIMAGE_TREE)
    assert all(counts == (1, 1) for counts in describe(samples).values())
    assert {s.split for s in samples} == {"train", "val"}
    assert all((s.label == 1) == (Path(s.path).parent.name == "ai") for s in samples)


def test_genimage_single_generator_and_bare_archives(tmp_path):
    genimage(tmp_path / "GenImage")
    one = read_samples(tmp_path / "GenImage" / "stable_diffusion_v_1_4")
    assert {s.generator for s in one} == {"stable_diffusion_v_1_4"}
    assert {s.generator for s in read_samples(tmp_path / "GenImage/BigGAN/imagenet_ai_0419_biggan")} == {"BigGAN"}
    for archive in GENIMAGE_ARCHIVES:
        both(tmp_path / "bare" / archive / "val", "nature", "ai")
    assert {s.generator for s in read_samples(tmp_path / "bare")} == set(GENIMAGE_TREE)


def test_split_folder_as_root(tmp_path):
    genimage(tmp_path)
    samples = read_samples(tmp_path / "wukong" / "imagenet_ai_0424_wukong" / "train")
    assert {(s.generator, s.split) for s in samples} == {("wukong", "train")}


LSUN = [
    "airplane", "bird", "bicycle", "boat", "bottle", "bus", "car", "cat", "cow", "chair", "diningtable", "dog",
    "person", "pottedplant", "motorbike", "tvmonitor", "train", "sheep", "sofa", "horse",
]
CATEGORIES = {
    "progan": LSUN, "stylegan": ["bedroom", "car", "cat"], "stylegan2": ["car", "cat", "church", "horse"],
    "cyclegan": ["apple", "horse", "orange", "summer", "winter", "zebra"],
}
ONE_CATEGORY = ["biggan", "stargan", "gaugan", "crn", "imle", "seeingdark", "san", "deepfake", "whichfaceisreal"]


def cnn_detection(root: Path, train: str, val: str, test: str) -> Path:
    """The published tree of ForenSynths, from github.com/PeterWang512/CNNDetection.

    README.md, section 3: training and validation set hold ProGAN images in 20 categories (the --classes of section 4),
    each with 0_real and 1_fake; the test set holds a folder for each of 13 algorithms (eval_config.py), four of them
    with categories (its `multiclass`, and StyleGAN2 by the README's note). Archives: progan_train, progan_val and
    CNN_synth_testset, unpacked by dataset/{train,val,test}/download_*.sh.
    """
    for split in (train, val):
        for name in LSUN:
            both(root / split / name, "0_real", "1_fake")
    for generator, names in CATEGORIES.items():
        for name in names:
            both(root / test / generator / name, "0_real", "1_fake")
    for generator in ONE_CATEGORY:
        both(root / test / generator, "0_real", "1_fake")
    return root


@pytest.mark.parametrize(
    "folders",
    [
        ("progan_train", "progan_val", "CNN_synth_testset"),
        ("train", "val", "test"),
        ("train/progan_train", "val/progan_val", "test/CNN_synth_testset"),
    ],
)
def test_forensynths(tmp_path, folders):
    root = cnn_detection(tmp_path / "data", *folders)
    categories = {("progan", split): (20, 20) for split in ("train", "val")}
    categories |= {(generator, "test"): (len(names), len(names)) for generator, names in CATEGORIES.items()}
    assert describe(read_samples(root)) == categories | {(generator, "test"): (1, 1) for generator in ONE_CATEGORY}


def test_parts_of_forensynths(tmp_path):
    root = cnn_detection(tmp_path / "data", "progan_train", "progan_val", "CNN_synth_testset")
    assert describe(read_samples(root / "progan_val")) == {("progan", "val"): (20, 20)}
    assert describe(read_samples(root / "CNN_synth_testset" / "cyclegan")) == {("cyclegan", "test"): (6, 6)}
    assert describe(read_samples(root / "CNN_synth_testset" / "biggan")) == {("biggan", "test"): (1, 1)}
    assert describe(read_samples(root / "CNN_synth_testset" / "progan")) == {("progan", "test"): (20, 20)}


def test_forensynths_with_the_generator_above_the_categories(tmp_path):
    for name in ("airplane", "car"):
        both(tmp_path / "train" / "progan" / name, "0_real", "1_fake")
    assert describe(read_samples(tmp_path)) == {("progan", "train"): (2, 2)}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("ProGAN", "progan"), ("stable_diffusion_v_1_4", "Stable-Diffusion 1.4"), ("SD v1.4", "stable_diffusion_v1_4"),
        ("sdv5", "stable_diffusion_v_1_5"), ("DALL-E 2", "DALLE2"), ("MJ", "Midjourney"), ("WFIR", "whichfaceisreal"),
    ],
)
def test_spellings_of_one_generator(one, other):
    assert canonical(one) == canonical(other)


def test_data_sets_that_spell_a_generator_differently_are_one(tmp_path):
    both(tmp_path / "a" / "progan_train" / "car", "0_real", "1_fake")
    both(tmp_path / "b" / "test" / "ProGAN", "0_real", "1_fake")
    both(tmp_path / "b" / "test" / "DALLE2", "0_real", "1_fake")
    samples = read_all([tmp_path / "a", tmp_path / "b"])
    assert set(describe(samples)) == {("progan", "train"), ("progan", "test"), ("DALLE2", "test")}


@pytest.mark.parametrize(
    ("one", "other"),
    [("StyleGAN", "StyleGAN2"), ("SD 1.4", "SD 1.5"), ("sdxl", "sd 1.5"), ("sd", "stable diffusion 1"), ("?", "!")],
)
def test_different_generators_stay_apart(one, other):
    assert canonical(one) != canonical(other)


def test_aigcdetect_names(tmp_path):
    for name in AIGCDETECT:
        both(tmp_path / "test" / name.lower(), "0_real", "1_fake")
    both(tmp_path / "test" / "cyclegan" / "summer2winter", "0_real", "1_fake")
    samples = read_samples(tmp_path)
    assert len(AIGCDETECT) == 16
    assert {s.generator for s in samples} == set(AIGCDETECT)
    assert {s.split for s in samples} == {"test"}


def test_chameleon(tmp_path):
    both(tmp_path / "Chameleon" / "test", "0_real", "1_fake", ".jpg")
    for root in (tmp_path / "Chameleon", tmp_path / "Chameleon" / "test"):
        assert describe(read_samples(root)) == {("Chameleon", "test"): (1, 1)}


def test_community_forensics(tmp_path):
    for name in ("flux1-dev", "sdxl"):
        both(tmp_path / name, "real", "fake", ".webp")
    assert describe(read_samples(tmp_path)) == {("flux1-dev", "test"): (1, 1), ("sdxl", "test"): (1, 1)}


def test_ambiguous_tree_says_so_and_layout_chooses(tmp_path):
    both(tmp_path / "one" / "val", "nature", "ai")
    both(tmp_path / "two", "real", "fake")
    with pytest.raises(UsageError, match=r"ambiguous.*--layout"):
        read_samples(tmp_path)
    assert {s.generator for s in read_samples(tmp_path, layout="community")} == {"two"}
    assert {s.generator for s in read_samples(tmp_path, layout="genimage")} == {"one"}


def test_nothing_fits(tmp_path):
    touch(tmp_path / "holiday" / "a.jpg")
    with pytest.raises(UsageError, match=r"no folder here is named as a class(.|\n)*genimage(.|\n)*CSV"):
        read_samples(tmp_path)
    with pytest.raises(UsageError, match="nothing fits layout chameleon"):
        read_samples(tmp_path, layout="chameleon")
    with pytest.raises(UsageError, match="no such file"):
        read_samples(tmp_path / "gone")
    with pytest.raises(UsageError, match="unknown layout"):
        read_samples(tmp_path, layout="imagenet")


def test_files_that_are_no_images_are_counted_and_named(tmp_path, caplog):
    genimage(tmp_path)
    folder = tmp_path / "BigGAN" / GENIMAGE_TREE["BigGAN"] / "val" / "ai"
    touch(folder / "readme.txt")
    (folder / "empty.png").touch()
    (folder / "dangling.png").symlink_to(tmp_path / "gone.png")
    touch(folder / "._hidden.png")
    skipped = []
    with caplog.at_level(logging.WARNING):
        samples = read_samples(tmp_path, skipped=skipped, generators=["biggan"])
    assert len(samples) == 4
    assert sorted(Path(path).name for path, _ in skipped) == ["dangling.png", "empty.png", "readme.txt"]
    assert "empty.png: empty file" in caplog.text
    assert "3 files skipped" in caplog.text


def test_filters(tmp_path):
    genimage(tmp_path)
    assert {s.split for s in read_samples(tmp_path, split="val")} == {"val"}
    assert {s.generator for s in read_samples(tmp_path, generators=["WUKONG", "adm"])} == {"wukong", "ADM"}
    assert {s.generator for s in read_samples(tmp_path, generators=["SD v1.4"])} == {"stable_diffusion_v_1_4"}
    with pytest.raises(UsageError, match="no generator sdxl; there are: ADM"):
        read_samples(tmp_path, generators=["sdxl"])
    with pytest.raises(UsageError, match="no split 'test'; there are: train, val"):
        read_samples(tmp_path, split="test")


def test_one_class_alone_is_said(tmp_path, caplog):
    touch(tmp_path / "gen" / "val" / "ai" / "a.png")
    with caplog.at_level(logging.WARNING):
        read_samples(tmp_path)
    assert "every image is AI-generated" in caplog.text


def test_links_to_folders_are_followed_once(tmp_path):
    genimage(tmp_path / "store")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "BigGAN").symlink_to(tmp_path / "store" / "BigGAN")
    (tmp_path / "store" / "BigGAN" / "loop").symlink_to(tmp_path / "data")
    assert describe(read_samples(tmp_path / "data")) == {("BigGAN", "train"): (1, 1), ("BigGAN", "val"): (1, 1)}


@pytest.mark.data
def test_bench_counts(data_root):
    counts = describe(read_samples(data_root / "bench"))
    assert counts["stable_diffusion_v_1_5", "train"] == (1200, 1200)
    assert counts["stable_diffusion_v_1_5", "val"] == (100, 99)
    unseen = {"latent_diffusion", "glid3_xl", "dalle_mini", "stylegan2"}
    assert {g for g, _ in counts} == {"stable_diffusion_v_1_5"} | unseen
