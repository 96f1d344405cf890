"""Tiles cover a whole picture, their mean is the score, and the heatmap is of the whole; the share that was scored."""

import numpy as np
import pytest
from cinemae.runtime.images.tiles import offsets
from cinemae.runtime.scoring.heatmap import overlay
from cinemae.runtime.scoring.reasons import MIN_SEEN
from cinemae.runtime.scoring.record import from_dict, to_dict
from moving_pictures import animation
from pictures import cinemae_run, encoded, json_lines, picture
from PIL import Image


@pytest.fixture(scope="module")
def tiled(load):
    return load(tiles=True)


def codes(record):
    return {reason.code for reason in record.reasons}


def test_every_record_says_how_much_was_scored(detector):
    records = [detector.detect(picture(width, 90)) for width in (90, 180, 900)]
    whole = (64 / 72) ** 2  # the tests' engine: short side 72, crop 64
    assert [record.scored_area for record in records] == pytest.approx([whole, whole / 2, whole / 10])
    assert ["crop" in codes(record) for record in records] == [False, False, True]
    assert records[2].scored_area < MIN_SEEN
    assert detector.detect(b"broken").scored_area is None


@pytest.mark.parametrize(("length", "starts"), [(64, [0]), (72, [0, 8]), (112, [0, 48]), (113, [0, 24, 49])])
def test_tiles_overlap_by_a_quarter_at_least(length, starts):
    assert offsets(length, 64) == starts


@pytest.mark.parametrize(("width", "height"), [(90, 90), (300, 90), (90, 300), (144, 72)])
def test_the_mean_of_the_tiles_is_the_score(tiled, width, height):
    record = tiled.detect(picture(width, height))
    assert (record.scored_area, record.run.tiled) == (1, True)
    assert record.logit == pytest.approx(np.mean([tile.logit for tile in record.tiles]))
    covered = np.zeros((height, width), bool)
    for tile in record.tiles:
        covered[max(0, tile.top) : tile.top + tile.side, max(0, tile.left) : tile.left + tile.side] = True
    assert covered[1:-1, 1:-1].all()
    short = min(width, height)
    assert record.lcas.shape == (round(72 * height / short / 16), round(72 * width / short / 16))
    assert np.isfinite(record.lcas).mean() > 0.9
    assert (record.run.false_alarm, record.run.miss) == (None, None)
    assert codes(record) & {"tiles", "crop"} == {"tiles"}
    assert from_dict(to_dict(record)) == record


def test_a_tile_sees_what_a_centre_crop_sees(detector, tiled):
    source = picture(144, 72)
    first = tiled.detect(source).tiles[0]
    with_margin = Image.new("RGB", (72, 72))
    with_margin.paste(source.crop((0, 0, 68, 68)), (4, 4))  # the centre crop of this picture is the first tile
    assert first.logit == pytest.approx(detector.detect(with_margin).logit, abs=1e-4)
    assert (first.left, first.top, first.side) == (0, 0, 64)


def test_very_long_pictures_are_bounded(tiled):
    record = tiled.detect(picture(20_000, 20))
    assert len(record.tiles) <= 50
    assert record.scored_area == pytest.approx(16 / 1000)
    assert "crop" in codes(record)


def test_frames_are_tiled_too(tiled):
    record = tiled.detect(animation("GIF", [picture(180, 90, seed) for seed in range(3)]))
    assert len(record.frames.scored) == 3
    assert record.logit == max(frame.logit for frame in record.frames.scored)
    assert record.logit == pytest.approx(np.mean([tile.logit for tile in record.tiles]))


def test_the_heatmap_covers_the_whole(tiny_engine, tmp_path):
    for name, width in (("square", 90), ("wide", 300)):
        (tmp_path / f"{name}.png").write_bytes(encoded(picture(width, 90)))
    done = cinemae_run(tmp_path, "--engine", tiny_engine, "--tiles", "--heatmaps", tmp_path / "heat", "--quiet")
    assert done.returncode == 0, done.stderr
    assert len(json_lines(done.stdout)[1]["tiles"]) > 4
    sizes = [Image.open(path).size for path in sorted((tmp_path / "heat").rglob("*.png"))]
    assert sizes[1][0] > 2 * sizes[0][0]
    drawn = overlay(np.full((32, 64, 3), 128, np.uint8), np.array([[0.0, 1.0, 0, 0], [0, 0, 0, np.nan]]), 0, 1)
    assert drawn.size == (64, 32)
