"""Heatmaps: colours follow LCAS on one scale, hatching for unknown patches, no path collisions, no input replaced."""

from __future__ import annotations

import os

import numpy as np
import pytest
from cinemae.runtime.core.colour_map import colour_table
from cinemae.runtime.core.errors import UsageError
from cinemae.runtime.core.manifest import StatRange
from cinemae.runtime.report.heatmap import (
    MARK,
    MARK_KEY,
    OPACITY,
    figure,
    is_heatmap,
    overlay,
    own_range,
    save_heatmap,
)
from cinemae.runtime.report.heatmap_folder import SUFFIX, heatmap_folder, heatmap_path, input_folders
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from report_samples import picture

ROUNDING = 1.5
"""Grey levels: the blend and its inputs are rounded once each."""


def test_colour_table_grows_brighter_with_every_step():
    table = colour_table()
    assert (table.shape, table.dtype) == ((256, 3), np.uint8)
    x = table / 255
    luminance = np.where(x <= 0.04045, x / 12.92, ((x + 0.055) / 1.055) ** 2.4) @ np.array([0.2126, 0.7152, 0.0722])
    assert (np.diff(luminance[::4]) > 0).all()  # rounding to eight bits leaves single steps flat


def test_overlay_blends_the_tables_colour_with_the_grey_photograph():
    pixels = picture(1)
    lcas = np.linspace(2, 8, 16, dtype=np.float32)
    heat = np.asarray(overlay(pixels, lcas, 2, 8), np.float64)
    grey = np.asarray(Image.fromarray(pixels).convert("L"), np.float64)
    table = colour_table()
    for patch in range(16):
        rows, columns = slice(patch // 4 * 16, patch // 4 * 16 + 16), slice(patch % 4 * 16, patch % 4 * 16 + 16)
        colour = table[round((lcas[patch] - 2) / 6 * 255)]
        expected = OPACITY * colour + (1 - OPACITY) * grey[rows, columns, None]
        assert np.abs(heat[rows, columns] - expected).max() <= ROUNDING


FLAT = np.full((64, 64, 3), 90, np.uint8)


def colours(pixels):
    return len(np.unique(np.asarray(pixels).reshape(-1, 3), axis=0))


def test_values_beyond_the_scale_take_the_end_colours():
    heat = np.asarray(overlay(FLAT, np.float32([-5, 0, 10, 99] * 4), 0, 10))
    assert [colours(heat[:16, :32]), colours(heat[:16, 32:]), colours(heat)] == [1, 1, 2]


def test_one_fixed_scale_compares_images_and_the_other_does_not():
    calm, busy = np.linspace(0, 1, 16, dtype=np.float32), np.linspace(0, 10, 16, dtype=np.float32)
    assert np.asarray(overlay(FLAT, calm, 0, 10)).max() < np.asarray(overlay(FLAT, busy, 0, 10)).max()
    own = [overlay(FLAT, lcas, own_range(lcas).low, own_range(lcas).high) for lcas in (calm, busy)]
    assert own[0].tobytes() == own[1].tobytes()


def test_never_masked_patches_are_hatched_and_nothing_else():
    lcas = np.full(16, 5, np.float32)
    lcas[5] = np.nan
    heat = np.array(overlay(FLAT, lcas, 0, 10))
    assert colours(heat[16:32, 16:32]) == 2
    heat[16:32, 16:32] = heat[0, 0]
    assert colours(heat) == 1


def test_maps_without_a_range():
    assert figure(picture(0), np.full(16, np.nan, np.float32), None).size[0] > 128
    assert colours(overlay(FLAT, np.full(16, 3, np.float32), 3, 3)) == 1  # and no division by zero


@pytest.mark.parametrize(("size", "count"), [(64, 15), (60, 49), (64, 0)])
def test_shapes_that_do_not_fit_are_named(size, count):
    assert overlay(picture(0, 224), np.zeros(256, np.float32), 0, 1).size == (224, 224)  # patches of 14 pixels do
    with pytest.raises(UsageError, match=r"grid"):
        overlay(np.zeros((size, size, 3), np.uint8), np.zeros(count, np.float32), 0, 1)


def test_saved_picture_is_whole_marked_and_replaced_only_by_its_like(tmp_path):
    target = tmp_path / "deep" / "a.jpg.lcas.png"
    lcas = np.arange(16, dtype=np.float32)
    save_heatmap(target, picture(0), lcas, StatRange(low=0, high=15))
    with Image.open(target) as image:
        image.load()
        assert image.info[MARK_KEY] == MARK
    first = target.read_bytes()
    save_heatmap(target, picture(0), lcas, StatRange(low=0, high=15))
    assert target.read_bytes() == first
    save_heatmap(target, picture(0), lcas, None)
    assert target.read_bytes() != first
    assert [path.name for path in target.parent.iterdir()] == [target.name]


@pytest.mark.parametrize("content", [b"not a picture", b""])
def test_a_file_that_is_not_ours_is_never_replaced(tmp_path, content):
    target = tmp_path / "a.jpg.lcas.png"
    target.write_bytes(content)
    with pytest.raises(UsageError, match="not a heatmap of ours"):
        save_heatmap(target, picture(0), np.zeros(16, np.float32), None)
    assert target.read_bytes() == content
    Image.fromarray(picture(0)).save(tmp_path / "photo.png")
    assert not is_heatmap(tmp_path / "photo.png")


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
