"""Heatmaps: colours follow LCAS on one scale, hatching for unknown patches, no input replaced."""

from __future__ import annotations

import numpy as np
import pytest
from cinemae.runtime.core.colour_map import colour_table
from cinemae.runtime.core.errors import UsageError
from cinemae.runtime.core.manifest import StatRange
from cinemae.runtime.scoring.heatmap import (
    MARK,
    MARK_KEY,
    OPACITY,
    figure,
    is_heatmap,
    overlay,
    own_range,
    save_heatmap,
)
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
