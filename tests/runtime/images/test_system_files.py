"""Files of operating systems are nobody's images, in every walk, pattern, archive and listing; a named file is read."""

from __future__ import annotations

import io
import os
import tarfile
import zipfile
from pathlib import Path

import pytest
from cinemae.runtime.images.walk import Skipped
from cinemae.runtime.scan.archives import archive_members
from cinemae.runtime.scan.inputs import Inputs
from cinemae.runtime.scan.watch.watcher import Watcher
from serve_tools import encode, picture

PNG = encode(picture(0), "PNG")
FORK = b"\x00\x05\x16\x07\x00\x02\x00\x00Mac OS X        " + bytes(60)
"""The head of a file of RFC 1740, appendix B: magic, version, home file system."""
IMAGES = ("._shot.png", "a.png", "b/c.png")
"""`._shot.png` is an image of somebody who likes such names: it has no magic of AppleDouble."""
OTHERS = {
    "._a.png": FORK, "b/._c.png": FORK, "@eaDir/a.png/SYNOPHOTO_THUMB_M.png": PNG, "b/#recycle/d.png": PNG,
    ".Trash-1000/files/d.png": PNG, "__MACOSX/b/._c.png": FORK, "__MACOSX/x.png": PNG, "$RECYCLE.BIN/$R1.png": PNG,
    "Thumbs.db": b"\xd0\xcf\x11\xe0", "b/.DS_Store": b"\0\0\0\1Bud1", "desktop.ini": b"[.ShellClassInfo]",
}
FILES = {**dict.fromkeys(IMAGES, PNG), **OTHERS}


@pytest.fixture
def folder(tmp_path):
    for name, data in FILES.items():
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return tmp_path / "in"


def below(folder: Path, argument: Path | str) -> tuple[set[str], Skipped]:
    inputs = Inputs((str(argument),))
    items = list(inputs)
    assert [item.error for item in items] == [None] * len(items)
    return {os.path.relpath(item.name, folder).replace(os.sep, "/") for item in items}, inputs.skipped


def test_a_walked_folder(folder):
    found, skipped = below(folder, folder)
    assert found == set(IMAGES)
    assert not skipped.summary()  # they are not the reader's files either


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [("**/*.png", {"a.png", "b/c.png"}), ("*", {"a.png", "b/c.png"}), ("@eaDir/*/*.png", None),
     ("._*.png", {IMAGES[0]}), ("b/#rec*/*", set())],
)
def test_patterns_find_only_those_that_they_name(folder, pattern, expected):
    if expected == set():
        (item,) = Inputs((f"{folder}/{pattern}",))
        assert item.error is not None
        assert item.error.kind == "missing"
        return
    found, _ = below(folder, f"{folder}/{pattern}")
    assert found == (expected or {"@eaDir/a.png/SYNOPHOTO_THUMB_M.png"})


@pytest.mark.parametrize("name", ["@eaDir/a.png/SYNOPHOTO_THUMB_M.png", "._a.png", "@eaDir"])
def test_what_is_named_is_read(folder, name):
    found, _ = below(folder, folder / name)
    assert found == {name if name.endswith(".png") else "@eaDir/a.png/SYNOPHOTO_THUMB_M.png"}


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_archives_of_macos(tmp_path, kind):
    path = tmp_path / f"a.{kind}"
    if kind == "zip":
        with zipfile.ZipFile(path, "w") as archive:
            for name, data in FILES.items():
                archive.writestr(name, data)
    else:
        with tarfile.open(path, "w") as archive:
            for name, data in FILES.items():
                info = tarfile.TarInfo(name)
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))
    skipped = Skipped()
    found = list(archive_members(str(path), skipped))
    assert {item.name.partition("::")[2] for item in found} == set(IMAGES)
    assert not skipped.summary()


def test_watched_folders(folder):
    watcher = Watcher([str(folder)], settle=0)
    watcher.poll(0)
    assert {os.path.relpath(path, folder) for path in watcher.poll(1)} <= {"a.png", os.path.join("b", "c.png")}


def test_prefixes_of_stores(folder):
    """A cluster lists stores through fsspec; its local file system stands for them."""
    pytest.importorskip("fsspec")
    from cinemae.runtime.ray.storage import list_url

    base = folder.as_uri()
    names = {name.removeprefix(f"{base}/") for name in list_url(base)}
    assert names == set(IMAGES)
    assert list_url(f"{base}/@eaDir") == [f"{base}/@eaDir/a.png/SYNOPHOTO_THUMB_M.png"]


def test_photographs_to_pretrain_on(folder):
    pytest.importorskip("torch")
    from cinemae.train.pretraining.photo_folder import PhotoFolder

    paths = PhotoFolder([folder], 32, 0.5).paths
    assert {os.path.relpath(path, folder).replace(os.sep, "/") for path in paths} == set(IMAGES)
