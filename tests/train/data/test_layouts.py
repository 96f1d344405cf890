"""Every published layout with its real folder names, detection, and files that are no images."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from cinemae.runtime.core.errors import UsageError
from cinemae.train.data.folders import ClassFolder, detect
from cinemae.train.data.generators import canonical
from cinemae.train.data.layouts import AIGCDETECT, GENIMAGE_ARCHIVES, LAYOUTS, Layout
from cinemae.train.data.options import Subset
from cinemae.train.data.sample import Sample
from cinemae.train.data.samples import read_data, read_samples
from training_tree import both, describe, touch

GENIMAGE_TREE = {
    "ADM": "imagenet_ai_0508_adm", "BigGAN": "imagenet_ai_0419_biggan", "glide": "imagenet_glide",
    "Midjourney": "imagenet_midjourney", "stable_diffusion_v_1_4": "imagenet_ai_0419_sdv4",
    "stable_diffusion_v_1_5": "imagenet_ai_0424_sdv5", "VQDM": "imagenet_ai_0419_vqdm",
    "wukong": "imagenet_ai_0424_wukong",
}


def names(samples: list[Sample]) -> set[str]:
    return {sample.generator for sample in samples}


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
    assert describe(samples) == {(name, split): (1, 1) for name in GENIMAGE_TREE for split in ("train", "val")}
    assert all((s.label == 1) == (Path(s.path).parent.name == "ai") for s in samples)


def test_parts_of_genimage_and_bare_archives(tmp_path):
    root = genimage(tmp_path / "GenImage")
    assert names(read_samples(root / "stable_diffusion_v_1_4")) == {"stable_diffusion_v_1_4"}
    assert names(read_samples(root / "BigGAN" / "imagenet_ai_0419_biggan")) == {"BigGAN"}
    split = read_samples(root / "wukong" / "imagenet_ai_0424_wukong" / "train")
    assert describe(split) == {("wukong", "train"): (1, 1)}
    for archive in GENIMAGE_ARCHIVES:
        both(tmp_path / "bare" / archive / "val", "nature", "ai")
    assert names(read_samples(tmp_path / "bare")) == set(GENIMAGE_TREE)


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
    folders = [root / split / name for split in (train, val) for name in LSUN]
    folders += [root / test / generator / name for generator, inside in CATEGORIES.items() for name in inside]
    folders += [root / test / generator for generator in ONE_CATEGORY]
    for folder in folders:
        both(folder, "0_real", "1_fake")
    return root


@pytest.mark.parametrize(
    "folders",
    [("progan_train", "progan_val", "CNN_synth_testset"), ("train", "val", "test"),
     ("train/progan_train", "val/progan_val", "test/CNN_synth_testset")],
)
def test_forensynths(tmp_path, folders):
    root = cnn_detection(tmp_path / "data", *folders)
    expected = {("progan", split): (20, 20) for split in ("train", "val")}
    expected |= {(generator, "test"): (len(inside), len(inside)) for generator, inside in CATEGORIES.items()}
    expected |= {(generator, "test"): (1, 1) for generator in ONE_CATEGORY}
    assert describe(read_samples(root)) == expected
    for part, key in ((root / folders[1], ("progan", "val")), (root / folders[2] / "progan", ("progan", "test")),
                      (root / folders[2] / "cyclegan", ("cyclegan", "test")),
                      (root / folders[2] / "biggan", ("biggan", "test"))):
        assert describe(read_samples(part)) == {key: expected[key]}


def test_forensynths_with_the_generator_above_the_categories(tmp_path):
    for name in ("airplane", "car"):
        both(tmp_path / "train" / "progan" / name, "0_real", "1_fake")
    assert describe(read_samples(tmp_path)) == {("progan", "train"): (2, 2)}


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("ProGAN", "progan", True), ("stable_diffusion_v_1_4", "Stable-Diffusion 1.4", True),
        ("SD v1.4", "stable_diffusion_v1_4", True), ("sdv5", "stable_diffusion_v_1_5", True),
        ("MJ", "Midjourney", True), ("DALL-E 2", "DALLE2", True), ("WFIR", "whichfaceisreal", True),
        ("StyleGAN", "StyleGAN2", False), ("SD 1.4", "SD 1.5", False), ("sdxl", "sd 1.5", False),
        ("sd", "stable diffusion 1", False), ("?", "!", False),
    ],
)
def test_spellings_of_one_generator_and_of_different_ones(one, other, same):
    assert (canonical(one) == canonical(other)) == same


def test_data_sets_that_spell_a_generator_differently_are_one(tmp_path):
    both(tmp_path / "a" / "progan_train" / "car", "0_real", "1_fake")
    both(tmp_path / "b" / "test" / "ProGAN", "0_real", "1_fake")
    both(tmp_path / "b" / "test" / "DALLE2", "0_real", "1_fake")
    samples = read_data(Subset(data=(str(tmp_path / "a"), str(tmp_path / "b"))))
    assert set(describe(samples)) == {("progan", "train"), ("progan", "test"), ("DALLE2", "test")}


def test_aigcdetect_names(tmp_path):
    for name in AIGCDETECT:
        both(tmp_path / "test" / name.lower(), "0_real", "1_fake")
    both(tmp_path / "test" / "cyclegan" / "summer2winter", "0_real", "1_fake")
    assert len(AIGCDETECT) == 16
    assert set(describe(read_samples(tmp_path))) == {(name, "test") for name in AIGCDETECT}


def test_chameleon_and_community_forensics(tmp_path):
    both(tmp_path / "Chameleon" / "test", "0_real", "1_fake", ".jpg")
    for root in (tmp_path / "Chameleon", tmp_path / "Chameleon" / "test"):
        assert describe(read_samples(root)) == {("Chameleon", "test"): (1, 1)}
    for name in ("flux1-dev", "sdxl"):
        both(tmp_path / "community" / name, "real", "fake", ".webp")
    assert describe(read_samples(tmp_path / "community")) == {("flux1-dev", "test"): (1, 1), ("sdxl", "test"): (1, 1)}


def test_ambiguous_tree_says_so_and_layout_chooses(tmp_path):
    both(tmp_path / "one" / "val", "nature", "ai")
    both(tmp_path / "two", "real", "fake")
    with pytest.raises(UsageError, match=r"ambiguous.*--layout"):
        read_samples(tmp_path)
    assert names(read_samples(tmp_path, layout="community")) == {"two"}
    assert names(read_samples(tmp_path, layout="genimage")) == {"one"}


@pytest.mark.parametrize(
    ("folder", "layout", "words"),
    [(".", "auto", "no folder here is named as a class.*genimage.*CSV"), (".", "chameleon", "nothing fits layout"),
     ("gone", "auto", "no such file"), (".", "imagenet", "unknown layout")],
)
def test_nothing_fits(tmp_path, folder, layout, words):
    touch(tmp_path / "holiday" / "a.jpg")
    with pytest.raises(UsageError, match=words):
        read_samples(tmp_path / folder, layout=layout)


def test_files_that_are_no_images_are_counted_and_named(tmp_path, caplog):
    folder = genimage(tmp_path) / "BigGAN" / GENIMAGE_TREE["BigGAN"] / "val" / "ai"
    touch(folder / "readme.txt")
    (folder / "empty.png").touch()
    (folder / "dangling.png").symlink_to(tmp_path / "gone.png")
    touch(folder / "Thumbs.db")
    (folder / "._fork.png").write_bytes(b"\x00\x05\x16\x07\x00\x02\x00\x00")
    touch(folder / "@eaDir" / "0.png" / "SYNOPHOTO_THUMB_M.png")
    touch(folder.with_name("nature") / "#recycle" / "deleted.png")
    skipped = []
    with caplog.at_level(logging.WARNING):
        samples = read_samples(tmp_path, skipped=skipped, generator=["biggan"])
    assert len(samples) == 4
    assert sorted(Path(path).name for path, _ in skipped) == ["dangling.png", "empty.png", "readme.txt"]
    assert "empty.png: empty file" in caplog.text
    assert "3 files skipped" in caplog.text


def test_filters(tmp_path):
    genimage(tmp_path)
    assert {s.split for s in read_samples(tmp_path, split="val")} == {"val"}
    assert names(read_samples(tmp_path, generator=["WUKONG", "SD v1.4"])) == {"wukong", "stable_diffusion_v_1_4"}
    with pytest.raises(UsageError, match="no generator sdxl; there are: ADM"):
        read_samples(tmp_path, generator=["sdxl"])
    with pytest.raises(UsageError, match="no split 'test'; there are: train, val"):
        read_samples(tmp_path, split="test")


def test_a_split_without_a_class_is_an_error_and_several_data_are_one(tmp_path):
    both(tmp_path / "gen" / "train", "nature", "ai")
    touch(tmp_path / "gen" / "val" / "ai" / "a.png")
    with pytest.raises(UsageError, match=r"every image of split val is AI-generated.*add real"):
        read_samples(tmp_path / "gen")
    assert len(read_samples(tmp_path / "gen", split="train")) == 2
    touch(tmp_path / "photos" / "val" / "nature" / "a.png")
    assert len(read_data(Subset(data=(str(tmp_path / "gen"), str(tmp_path / "photos"))))) == 4


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


@pytest.mark.parametrize(
    ("real", "fake", "found"), [("photos", "machine_made", "mine"), ("real", "fake", "community")]
)
def test_one_layout_in_the_table_is_a_new_data_layout(tmp_path, monkeypatch, real, fake, found):
    """As CONTRIBUTING says: with class folders of its own it is found by itself; with those of another, that one is."""
    monkeypatch.setitem(LAYOUTS, "mine", Layout("mine", real, fake, "<generator>/{train,test}/..."))
    for generator in ("gen_a", "Midjourney"):
        for split in ("train", "test"):
            both(tmp_path / generator / split, real.title(), fake.replace("_", "-"))
    assert set(describe(read_samples(tmp_path))) == {
        ("gen_a", "train"), ("gen_a", "test"), ("Midjourney", "train"), ("Midjourney", "test")
    }
    parent = tmp_path / "gen_a" / "train"
    folders = [ClassFolder(parent / name, name, label, False) for label, name in enumerate((real, fake))]
    assert detect(tmp_path, folders).name == found
