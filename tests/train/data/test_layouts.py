"""Every published layout with its real folder names, detection, and files that are no images."""

from __future__ import annotations

import logging
from collections import Counter
from pathlib import Path

import pytest
from cinemae.runtime.core.errors import UsageError
from cinemae.train.data.generators import canonical
from cinemae.train.data.layouts import AIGCDETECT, GENIMAGE_ARCHIVES, LAYOUTS, Layout
from cinemae.train.data.options import Subset
from cinemae.train.data.sample import Sample
from cinemae.train.data.samples import read_data, read_samples

GENIMAGE_TREE = {
    "ADM": "imagenet_ai_0508_adm", "BigGAN": "imagenet_ai_0419_biggan", "glide": "imagenet_glide",
    "Midjourney": "imagenet_midjourney", "stable_diffusion_v_1_4": "imagenet_ai_0419_sdv4",
    "stable_diffusion_v_1_5": "imagenet_ai_0424_sdv5", "VQDM": "imagenet_ai_0419_vqdm",
    "wukong": "imagenet_ai_0424_wukong",
}


def describe(samples: list[Sample]) -> dict[tuple[str, str], tuple[int, int]]:
    """(generator, split) -> (AI, real) counts."""
    counts = Counter(sample.cell for sample in samples)
    return {(g, s): (counts[g, s, 1], counts[g, s, 0]) for g, s, _ in counts}


def names(samples: list[Sample]) -> set[str]:
    return {sample.generator for sample in samples}


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


def test_one_layout_in_the_table_is_a_new_data_layout(tmp_path, monkeypatch):
    """As CONTRIBUTING says: with class folders of its own it is found by itself."""
    monkeypatch.setitem(LAYOUTS, "mine", Layout("mine", "photos", "synthetic", "<generator>/{photos,synthetic}"))
    for generator in ("gen_a", "gen_b"):
        for folder in ("Photos", "synthetic"):
            touch(tmp_path / generator / folder / "1.png")
    assert names(read_samples(tmp_path)) == {"gen_a", "gen_b"}


@pytest.mark.parametrize("names", [("real", "ai"), ("nature", "fake"), ("Authentic", "AI-generated"), ("0_real", "ai")])
def test_any_mix_of_known_names(tmp_path, names):
    for split in ("train", "test"):
        both(tmp_path / "mine" / split, *names)
    assert describe(read_samples(tmp_path / "mine")) == {("mine", "train"): (1, 1), ("mine", "test"): (1, 1)}


def generators(root: Path) -> Path:
    for name in ("real", "sdxl", "midjourney"):
        touch(root / "train" / name / "deep" / "1.png")
    return root


def test_folders_of_images_that_would_be_left_out_are_an_error_that_names_them(tmp_path):
    wanted = r"train/midjourney \(1 images\), train/sdxl \(1 images\).*--ai midjourney.*--ai '\*'"
    with pytest.raises(UsageError, match=wanted):
        read_samples(generators(tmp_path / "mine"))


@pytest.mark.parametrize("options", [{"ai": ("*",)}, {"ai": ("SDXL", "mid*")}, {"real": ("real",), "ai": ("*",)}])
def test_folders_that_are_generators(tmp_path, options):
    found = describe(read_samples(generators(tmp_path / "mine"), **options))
    assert found == {("mine", "train"): (0, 1), ("sdxl", "train"): (1, 0), ("midjourney", "train"): (1, 0)}


def test_folders_that_are_real(tmp_path):
    for name in ("coco", "imagenet", "ai"):
        touch(tmp_path / name / "1.png")
    counts = Counter(s.label for s in read_samples(tmp_path, real=("*",)))
    assert counts == {0: 2, 1: 1}
    with pytest.raises(UsageError, match="both name coco"):
        read_samples(tmp_path, real=("coco",), ai=("coco",))


def test_the_star_needs_a_folder_of_the_other_class_beside(tmp_path):
    touch(tmp_path / "holiday" / "1.png")
    with pytest.raises(UsageError, match=r"no folder here is named as a class.*--real NAME"):
        read_samples(tmp_path, ai=("*",))


def test_a_class_in_a_class_and_a_split_in_a_class_are_errors(tmp_path):
    both(tmp_path / "a", "real", "fake")
    touch(tmp_path / "a" / "real" / "nature" / "1.png")
    with pytest.raises(UsageError, match=r"nature: is named as a class and lies in .*real; .*--layout"):
        read_samples(tmp_path / "a")
    assert describe(read_samples(tmp_path / "a", layout="community")) == {("a", "test"): (1, 2)}
    for split in ("train", "test"):
        both(tmp_path / "b", f"real/{split}", f"fake/{split}")
    with pytest.raises(UsageError, match=r"fake.test: is a split below a class; move it to .*test.fake"):
        read_samples(tmp_path / "b")


def test_images_beside_class_folders_are_named_as_skipped(tmp_path):
    both(tmp_path, "real", "fake")
    touch(tmp_path / "preview.png")
    skipped = []
    assert len(read_samples(tmp_path, skipped=skipped)) == 2
    assert skipped == [(str(tmp_path / "preview.png"), "lies beside the folders of the classes, in none of them")]


def test_the_share_of_a_test_split_is_chosen_by_content(tmp_path):
    for label in ("real", "fake"):
        for i in range(60):
            touch(tmp_path / label / f"{i}.png").write_bytes(f"{label} {i // 2}".encode())  # pairs of copies
    first = read_samples(tmp_path, test_share=0.3)
    counts = Counter(s.split for s in first)
    assert set(counts) == {"train", "test"}
    assert 18 < counts["test"] < 54
    assert first == read_samples(tmp_path, test_share=0.3)
    of = {s.path: s.split for s in first}
    splits = [of[str(tmp_path / "real" / f"{i}.png")] for i in range(60)]
    assert splits[::2] == splits[1::2]
    for label in ("real", "fake"):
        touch(tmp_path / "two" / "train" / label / "1.png")
        touch(tmp_path / "two" / "test" / label / "1.png")
    with pytest.raises(UsageError, match="single split; this data has test, train"):
        read_samples(tmp_path / "two", test_share=0.3)
