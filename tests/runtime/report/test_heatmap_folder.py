"""A folder of heatmaps: no path collisions, no name that a file system rejects, one failure does not stop a run."""

from __future__ import annotations

import os

import numpy as np
import pytest
from cinemae.runtime.report.heatmap_folder import SUFFIX, heatmap_folder, heatmap_path, input_folders
from cinemae.runtime.scoring.heatmap import is_heatmap
from hypothesis import given
from hypothesis import strategies as st
from report_samples import picture


@pytest.mark.parametrize(("source", "expected"), [
    ("in/a.jpg", "out/in/a.jpg"), ("./in/a.jpg", "out/in/a.jpg"), ("{cwd}/in/a.jpg", "out/in/a.jpg"),
    ("/elsewhere/in/a.jpg", "out/@root/elsewhere/in/a.jpg"), ("../in/a.jpg", "out/@up/in/a.jpg"),
])
def test_relative_paths_are_kept(source, expected, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert str(heatmap_path("out", source.format(cwd=tmp_path))) == expected + SUFFIX


def test_a_single_folder_gives_paths_relative_to_it(tmp_path):
    for argument in (str(tmp_path), f"{tmp_path}/"):
        under = input_folders([argument])
        assert str(heatmap_path("out", os.path.join(argument, "in/a.jpg"), under)) == "out/in/a.jpg" + SUFFIX


def test_several_folders_keep_apart(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    outside = [str(tmp_path / name) for name in ("x/photos", "y/photos", "root")]
    folders = ["photos", *outside, "../elsewhere"]
    for folder in folders:
        os.makedirs(folder)
    under = input_folders([*folders, "photos/a.jpg", "@list.txt"])
    targets = [str(heatmap_path("out", os.path.join(folder, "a.jpg"), under)) for folder in folders]
    assert targets == [
        f"out/{name}/a.jpg{SUFFIX}" for name in ("photos", "@photos", "@photos~2", "@root~2", "@elsewhere")
    ]
    inner = input_folders([str(tmp_path / "x"), str(tmp_path / "x" / "photos")])
    assert str(heatmap_path("out", str(tmp_path / "x" / "photos" / "a.jpg"), inner)) == f"out/@photos/a.jpg{SUFFIX}"
    assert str(heatmap_path("out", str(tmp_path / "x" / "a.jpg"), inner)) == f"out/@x/a.jpg{SUFFIX}"


def test_names_that_are_alike_do_not_meet():
    sources = [
        "in/a.jpg", "in/a.png", "in/a", "other/a.jpg", "/in/a.jpg", "../in/a.jpg", "in/a?.jpg", "in/a*.jpg",
        "in/a_.jpg", "in/a\n.jpg", "in/b\udcff.jpg", "in/b\udcfe.jpg", "in/" + "n" * 400 + "1.jpg",
        "in/" + "n" * 400 + "2.jpg",
        "@up/in/a.jpg", "@root/in/a.jpg", "in/nul.jpg", "in/a.jpg.lcas.png/x.jpg", "in/a.jpg ", "in/.", "in/a\\b.jpg",
    ]
    targets = [str(heatmap_path("out", source)) for source in sources]
    assert len({target.casefold() for target in targets}) == len(sources)


@given(st.text(max_size=300) | st.binary(max_size=300).map(lambda raw: os.fsdecode(raw)))
def test_any_name_stays_inside_the_folder_and_can_be_written(source):
    target = heatmap_path("out", source)
    assert target.parts[0] == "out"
    assert ".." not in target.parts
    for part in target.parts:
        encoded = part.encode("utf-8")  # no lone surrogates
        assert 0 < len(encoded) <= 255
        assert not set(part) & set('\0\n\r\t<>:"|?*\\')


@pytest.mark.parametrize("told_one_by_one", [1, 0])
def test_folder_of_heatmaps_is_written_in_threads_and_survives_one_failure(tmp_path, monkeypatch, told_one_by_one):
    told: list[str] = []
    monkeypatch.setattr("cinemae.runtime.report.heatmap_folder.REPORTED", told_one_by_one)
    monkeypatch.setattr("cinemae.runtime.report.heatmap_folder.AHEAD", 2)
    taken = tmp_path / "out" / "in" / "3.png.lcas.png"
    taken.parent.mkdir(parents=True)
    taken.write_bytes(b"somebody's")
    with heatmap_folder(tmp_path / "out", None, told.append) as add:
        for i in range(6):
            add(f"in/{i}.png", picture(i), np.arange(16, dtype=np.float32))
    assert len(told) == 1
    assert ("3.png.lcas.png" if told_one_by_one else "1 heatmaps could not be written") in told[0]
    assert taken.read_bytes() == b"somebody's"
    written = sorted(path.name for path in (tmp_path / "out" / "in").iterdir())
    assert len(written) == 6
    assert sum(is_heatmap(tmp_path / "out" / "in" / name) for name in written) == 5
