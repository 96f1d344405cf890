"""Nothing below a folder is dropped in silence: folders that cannot be entered, long paths, images by content."""

import os
import subprocess

import pytest
from cinemae.runtime.images.formats import SIGNATURE_BYTES, holds_image
from cinemae.runtime.images.walk import Skipped
from cinemae.runtime.scan.inputs import Inputs
from pictures import encoded, picture
from PIL import Image, features


@pytest.fixture
def tree(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in/sub/deep").mkdir(parents=True)
    for name in ("a.png", "in/b.png", "in/sub/c.png", "in/sub/deep/d.png"):
        (tmp_path / name).write_bytes(encoded(picture()))
    return tmp_path


@pytest.mark.parametrize(
    ("call", "refused", "argument", "failed"),
    [
        ("stat", "in/sub/", "in", ["in/sub/deep"]),  # may be listed and not searched
        *(("scandir", "in/sub", argument, ["in/sub"]) for argument in ("in", "in/**/*.png", "in/*/*.png", "in/**")),
    ],
)
def test_folders_that_cannot_be_read_are_inputs_with_an_error(tree, monkeypatch, call, refused, argument, failed):
    real = getattr(os, call)

    def refuse(path, *arguments, **options):
        if str(path) == refused or (refused.endswith("/") and str(path).startswith(refused)):
            raise PermissionError(13, "Permission denied")
        return real(path, *arguments, **options)

    monkeypatch.setattr(os, call, refuse)
    found = [item for item in Inputs([argument]) if item.error]
    assert [(item.name, item.error.kind) for item in found] == [(name, "unreadable") for name in failed]
    assert "Permission denied" in str(found[0].error)


def test_paths_beyond_the_limit_are_inputs_with_an_error(tree):
    (tree / "in/link").symlink_to("x" * 300)  # the name is too long to be looked up
    (item,) = [item for item in Inputs(["in"]) if item.error]
    assert item.name == "in/link"
    part, depth = "d" * 200, 25
    before = os.getcwd()
    for _ in range(depth):
        os.mkdir(part)
        os.chdir(part)
    (tree / "a.png").rename("far.png")
    os.chdir(before)
    for argument in (part, "**/*.png", f"{part}/**/*.png"):
        (item,) = [item for item in Inputs([argument]) if item.error]
        assert "too long" in str(item.error)
    subprocess.run(["rm", "-r", part], check=True)  # neither pytest nor shutil can remove it


def test_deep_trees_and_long_patterns_do_not_exhaust_the_stack(tree):
    deep = "n/" * 1200
    for end in range(2, len(deep) + 1, 2):
        os.mkdir(deep[:end])
    found = [item.name for item in Inputs(["**/*.png"])]
    named = [(item.name, item.error.kind) for pattern in (f"{deep}*.png", "*/" * 1500) for item in Inputs([pattern])]
    for end in range(len(deep), 0, -2):  # neither pytest nor shutil can remove it
        os.rmdir(deep[:end])
    assert found[-1] == "in/sub/deep/d.png"
    assert named == [(f"{deep}*.png", "missing"), ("*/" * 1500, "missing")]


def test_images_are_found_by_content(tree):
    kinds = ("JPEG", "PNG", "GIF", "WEBP", "TIFF", "BMP", "PPM", "JPEG2000", "AVIF")
    Image.init()
    found = {f"in/{kind}.jpg_large" for kind in kinds if kind in Image.SAVE and features.check("jpg_2000")}
    for name in found:
        (tree / name).write_bytes(encoded(picture(), os.path.basename(name).removesuffix(".jpg_large")))
        assert holds_image(name)
    (tree / "in/plain").write_bytes(encoded(picture(), "JPEG"))
    for name, data in {"n.pdf": b"%PDF-1.7", "n.txt": b"BMW, P5, II\n", "n.bin": b"", "raw.DNG": b"II*\0" * 9}.items():
        (tree / "in" / name).write_bytes(data)
    os.mkfifo(tree / "in/pipe")
    inputs = Inputs(["in"])
    assert {item.name for item in inputs} == {*found, "in/plain", "in/b.png", "in/sub/c.png", "in/sub/deep/d.png"}
    assert inputs.skipped.summary() == (
        "5 files skipped (no images): without suffix 1, .bin 1, .dng 1, .pdf 1, .txt 1"
    )
    assert SIGNATURE_BYTES < 100


def test_skipped_suffixes_are_bounded():
    skipped = Skipped()
    assert skipped.summary() == ""
    for i in range(3 * Skipped.MAX_SUFFIXES):
        skipped.add(f"x.{i}")
    assert len(skipped.suffixes) <= Skipped.MAX_SUFFIXES + 1
    assert skipped.summary().startswith("3,000 files skipped (no images): others 2,000, .0 1, ")
    one = Skipped()
    one.add("a.\udcff")
    assert one.summary() == "1 file skipped (no images): .\\xff 1"
