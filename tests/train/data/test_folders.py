"""Folders of other names: any names of classes, names that options give, and what is refused or skipped."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from cinemae.runtime.core.errors import UsageError
from cinemae.train.data.samples import read_samples
from training_tree import both, describe, touch


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
