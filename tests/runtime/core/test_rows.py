"""Rows of pixel memory: order, reuse, and records that are the same bit by bit with and without them."""

import io
import threading
from contextlib import closing

import numpy as np
import pytest
from cinemae.runtime.core.rows import Rows, contiguous_runs, stacked
from cinemae.runtime.scoring.detector import Detector
from cinemae.runtime.scoring.pipeline import decode_and_score, images_held
from moving_pictures import animation, frames_of
from pictures import encoded, picture
from row_checks import freed, poisoned  # noqa: F401


def test_rows_lie_side_by_side_in_order():
    rows = Rows(4, 8)
    taken = [rows.take() for _ in range(4)]
    assert [row.index for row in taken] == [0, 1, 2, 3]
    batch = stacked([row.pixels for row in taken])
    assert batch.shape == (4, 8, 8, 3)
    assert np.shares_memory(batch, rows.memory)
    del taken[1]
    assert [len(part) for part in contiguous_runs([row.pixels for row in taken])] == [1, 2]
    copied = stacked([row.pixels for row in taken])
    assert not np.shares_memory(copied, rows.memory)
    assert np.array_equal(copied, rows.memory[[0, 2, 3]])


def test_a_row_is_free_only_when_nothing_shows_it():
    rows = Rows(2, 8)
    held = rows.take().pixels[2:, ::2].transpose(1, 0, 2)
    assert [rows.take().index for _ in range(3)] == [1, 1, 1]
    keep = rows.take()
    full = rows.take()
    assert full.index is None
    full.pixels[...] = 7
    assert not np.shares_memory(full.pixels, rows.memory)
    del held
    assert rows.take().index == 0
    assert keep.index == 1


def test_an_input_of_several_crops_takes_several_rows():
    rows = Rows(3, 8)
    crops = [np.full((8, 8, 3), value, np.uint8) for value in (1, 2, 3, 4)]
    placed = rows.take().place(crops)
    assert [int(one[0, 0, 0]) for one in placed] == [1, 2, 3, 4]
    assert [np.shares_memory(one, rows.memory) for one in placed] == [True, True, True, False]


def test_images_of_other_memory_are_stacked():
    images = np.arange(4 * 2 * 2 * 3, dtype=np.uint8).reshape(4, 2, 2, 3)
    for order in ([0, 1, 2, 3], [0, 2, 1, 3], [3, 2, 1, 0], [1, 1, 2, 2], [2]):
        chosen = [images[i] for i in order]
        assert np.array_equal(stacked(chosen), images[order])
    turned = [image.transpose(1, 0, 2) for image in images]
    assert np.array_equal(stacked(turned), np.stack(turned))


def test_threads_never_share_a_row():
    rows, wrong = Rows(5, 4), []

    def work(value):
        for _ in range(400):
            row = rows.take()
            row.pixels[...] = value
            if not (row.pixels == value).all():
                wrong.append(value)

    threads = [threading.Thread(target=work, args=(value,)) for value in range(1, 9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert not any(rows._reserved)


def mixed_inputs():
    """29 inputs: still images, broken ones within batches, an animation; the last batch is a partial one."""
    inputs = [encoded(picture(90, 80, seed), "PNG") for seed in range(25)]
    inputs[3:3] = [b"no image", b""]
    inputs[12:12] = [animation("GIF", frames_of(6)), encoded(picture(300, 70, 99), "JPEG")]
    return inputs


@pytest.mark.usefixtures("poisoned")
@pytest.mark.parametrize("tiles", [False, True])
@pytest.mark.parametrize("workers", [1, 3])
def test_records_on_the_cpu_are_the_same_bit_by_bit(tiny_engine, tiles, workers):
    with Detector.load(tiny_engine, "cpu", threads=1, tiles=tiles) as detector:
        found = list(detector.detect_many(mixed_inputs(), 4, workers))
        before = [item.record for item in decode_and_score(
            mixed_inputs(), lambda source, row: detector.prepare(source), detector.begin, 4, workers)]
    assert found == before
    assert all(np.array_equal(one.lcas, other.lcas, equal_nan=True) for one, other in zip(found, before, strict=True)
               if one.lcas is not None)
    assert [record.status for record in found].count("error") == 2


def test_batches_reach_the_engine_without_a_copy(tiny_engine):
    with Detector.load(tiny_engine, "cpu", threads=1) as detector:
        engine, batches = detector.wait(), []
        infer = engine.infer
        engine.infer = lambda images: batches.append(images) or infer(images)
        list(detector.detect_many([io.BytesIO(encoded(picture(90, 80, i), "PNG")) for i in range(11)], 4, 2))
        assert [len(images) for images in batches] == [4, 4, 3]
        assert all(np.shares_memory(images, detector._rows.memory) for images in batches)


@pytest.mark.usefixtures("poisoned")
def test_pixels_that_a_caller_keeps_stay_as_they_are(tiny_engine):
    inputs = [picture(90, 80, seed) for seed in range(40)]
    with Detector.load(tiny_engine, "cpu", threads=1) as detector:
        rows = detector.rows(2, 2)
        assert len(rows.memory) == images_held(2, 2) < 40
        scored = list(decode_and_score(inputs, detector.prepare, detector.begin, 2, 2, rows))
        for item, source in zip(scored, inputs, strict=True):
            assert np.array_equal(item.prepared.picture(item.record), detector.prepare(source).image.pixels)


def test_an_exception_while_preparing_ends_the_run_and_frees_its_rows(tiny_engine):
    with Detector.load(tiny_engine, "cpu", threads=1) as detector:
        rows = detector.rows(2, 2)

        def prepare(source, row):
            if source == 9:
                raise RuntimeError("a fault of the program")
            return detector.prepare(picture(90, 80, source), row)

        records = []
        with pytest.raises(RuntimeError, match="a fault"):
            records.extend(item.record for item in decode_and_score(range(20), prepare, detector.begin, 2, 2, rows))
        assert freed(rows)


def test_an_interrupted_run_frees_its_rows(tiny_engine):
    with Detector.load(tiny_engine, "cpu", threads=1) as detector:
        rows = detector.rows(2, 2)
        sources = (picture(90, 80, seed) for seed in range(200))
        with closing(decode_and_score(sources, detector.prepare, detector.begin, 2, 2, rows)) as scored:
            next(scored)
        del scored
        assert freed(rows)
