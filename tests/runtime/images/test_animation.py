"""Frames of animations: which are scored, the record of the most suspicious one, limits, damaged files."""

import io
import json
import struct
import zlib

import pytest
from cinemae.runtime.core.errors import UsageError
from cinemae.runtime.images import animation as animations
from cinemae.runtime.images.frame_selection import MAX_SCORED, frames_wanted, spread
from cinemae.runtime.scoring.detector import Detector
from cinemae.runtime.scoring.record import from_dict, to_dict, to_json
from moving_pictures import animation, frames_of, many_tiny_frames
from pictures import encoded, picture
from PIL import Image


@pytest.fixture(scope="module")
def detector(tiny_engine):
    with Detector.load(tiny_engine, device="cpu", threads=1) as detector:
        yield detector


@pytest.fixture
def of_frames(tiny_engine):
    """Loads a detector with another setting for frames."""
    opened = []

    def load(frames):
        opened.append(Detector.load(tiny_engine, device="cpu", threads=1, frames=frames))
        return opened[-1]

    yield load
    for one in opened:
        one.close()


def test_frames_are_spread_over_the_file():
    assert spread(10, 4) == [0, 3, 6, 9]
    assert spread(3, 4) == [0, 1, 2]
    assert spread(7, 1) == spread(1, 5) == spread(0, 5) == [0]
    assert (frames_wanted("first"), frames_wanted("all"), frames_wanted("7"), frames_wanted(7)) == (1, MAX_SCORED, 7, 7)
    for wrong in ("0", "101", "-1", "1.5", "some", "", 0, "²"):
        with pytest.raises(UsageError, match="first, all or a number"):
            frames_wanted(wrong)


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP"])
def test_the_most_suspicious_frame_gives_the_record(detector, kind):
    pictures = frames_of(7)
    alone = [detector.detect(one) for one in pictures]
    record = detector.detect(animation(kind, pictures))
    assert record.status == "ok"
    assert record.frames.count == 7
    assert [frame.index for frame in record.frames.scored] == [0, 2, 4, 6]
    assert [frame.time for frame in record.frames.scored] == pytest.approx([0, 0.2, 0.4, 0.6])
    for frame in record.frames.scored:
        assert frame.logit == pytest.approx(alone[frame.index].logit, abs=1e-4)
        assert frame.probability == pytest.approx(alone[frame.index].probability, abs=1e-4)
    best = max((0, 2, 4, 6), key=lambda i: alone[i].logit)
    assert record.frames.verdict_from == best
    assert (record.logit, record.probability) == max((f.logit, f.probability) for f in record.frames.scored)
    assert record.stats.s1 == pytest.approx(alone[best].stats.s1, rel=1e-3)
    assert record.lcas == pytest.approx(alone[best].lcas, rel=1e-3, nan_ok=True)
    assert record.false_alarm is None
    assert any(f"the frame of index {best} gives the verdict" in reason for reason in record.reasons)
    assert from_dict(json.loads(to_json(record))) == record


def test_still_images_stay_as_they_are(detector, of_frames):
    data = encoded(picture())
    record = detector.detect(data)
    assert record.frames is None
    assert record == of_frames("all").detect(data)
    for kind in ("GIF", "WEBP", "PNG"):
        assert detector.detect(encoded(picture(), kind)).frames is None
    several_pages = io.BytesIO()
    picture().save(several_pages, "TIFF", save_all=True, append_images=[picture(seed=1)])
    assert detector.detect(several_pages.getvalue()).frames is None


def test_first_and_all(of_frames):
    data = animation("GIF", frames_of(6))
    first = of_frames("first").detect(data)
    assert [frame.index for frame in first.frames.scored] == [0]
    assert first.frames.count == 6
    assert any("only the first of its 6 frames was scored" in reason for reason in first.reasons)
    every = of_frames("all").detect(data)
    assert [frame.index for frame in every.frames.scored] == list(range(6))
    assert first.logit == every.frames.scored[0].logit


def test_sources_agree(detector, tmp_path):
    data = animation("GIF", frames_of(5))
    (tmp_path / "a.gif").write_bytes(data)
    with (tmp_path / "a.gif").open("rb") as file:
        records = [detector.detect(source) for source in (str(tmp_path / "a.gif"), data, io.BytesIO(data), file)]
    assert len({(record.logit, record.sha256, len(record.frames.scored)) for record in records}) == 1


def test_a_batch_gives_what_singles_give(detector):
    sources = [encoded(picture(seed=9)), animation("GIF", frames_of(5)), b"broken", animation("PNG", frames_of(3))]
    together = list(detector.detect_many(sources, batch_size=3))
    for one, source in zip(together, sources, strict=True):
        alone = detector.detect(source)
        assert one.status == alone.status
        assert one.logit == (None if alone.logit is None else pytest.approx(alone.logit, abs=1e-4))
        assert (one.frames is None) == (alone.frames is None)


def test_frames_that_draw_over_the_ones_before(detector):
    """APNG with disposal: the canvas is what a viewer shows, also where a frame is only a corner of it."""
    base, corner = picture(96, 80, 1), Image.new("RGBA", (96, 80))
    corner.paste((255, 0, 0, 255), (0, 0, 20, 20))
    for disposal in (0, 1, 2):
        data = animation("PNG", [base.convert("RGBA"), corner, corner], disposal=disposal, blend=1)
        record = detector.detect(data)
        with Image.open(io.BytesIO(data)) as shown:
            count = shown.n_frames
            canvases = []
            for i in range(count):
                shown.seek(i)
                canvases.append(shown.convert("RGBA").copy())
        assert record.frames.count == count
        for frame in record.frames.scored:
            assert frame.logit == pytest.approx(detector.detect(canvases[frame.index]).logit, abs=1e-4)


def test_a_truncated_animation_is_scored_up_to_the_damage(detector):
    pictures = frames_of(9)
    whole = animation("GIF", pictures)
    last = whole.rindex(b"!\xf9\x04")
    record = detector.detect(whole[: last + 300])
    assert record.status == "ok"
    assert record.frames.count == 9
    assert record.frames.scored[-1].index == 7
    assert any("frame 8 cannot be decoded" in reason for reason in record.reasons)


def test_a_count_that_lies_hides_no_frame(detector):
    data = animation("PNG", frames_of(4))
    at = data.index(b"acTL") + 4
    lying = data[:at] + struct.pack(">I", 1 << 30) + data[at + 4 :]
    lying = lying[: at + 8] + struct.pack(">I", zlib.crc32(lying[at - 4 : at + 8])) + lying[at + 12 :]
    record = detector.detect(lying)
    assert [frame.index for frame in record.frames.scored] == [0, 1, 2, 3]
    assert any("damaged: frame 4" in reason for reason in record.reasons)


def test_a_gif_without_frames_is_one_failed_input(detector):
    record = detector.detect(b"GIF89a" + struct.pack("<HH", 8, 8) + b"\0\0\0;")
    assert (record.status, record.frames) == ("error", None)


def test_a_hundred_thousand_frames_cost_little(of_frames):
    record = of_frames("all").detect(many_tiny_frames(100_000))
    assert len(record.frames.scored) == MAX_SCORED
    assert record.frames.scored[-1].index == animations.MAX_FRAMES - 1
    assert any("only the first 10,000 frames" in reason for reason in record.reasons)


def test_large_canvases_are_bounded_by_their_pixels(detector, monkeypatch):
    monkeypatch.setattr(animations, "MAX_ANIMATION_PIXELS", 96 * 80 * 3)
    record = detector.detect(animation("GIF", frames_of(8)))
    assert [frame.index for frame in record.frames.scored] == [0, 1, 2]
    assert any("only the first 3 frames" in reason for reason in record.reasons)
    monkeypatch.setattr(animations, "MAX_SECONDS", -1.0)
    assert [frame.index for frame in detector.detect(animation("GIF", frames_of(8))).frames.scored] == [0]


def test_blocks_of_a_gif_without_end_are_not_counted_for_ever(monkeypatch):
    monkeypatch.setattr(animations, "MAX_BLOCKS", 1000)
    data = many_tiny_frames(1)[:-1]
    for rest in (b"x" * 10_000, b"," + bytes(9) + b"\2" + b"\1x" * 10_000):
        file = io.BytesIO(data + rest)
        assert animations._count_gif(file) <= 2
        assert file.tell() < len(data) + 3000


def test_record_as_json(detector):
    values = to_dict(detector.detect(animation("GIF", frames_of(3), duration=40)))
    frames = values["frames"]
    assert set(frames) == {"count", "verdict_from", "scored"}
    assert frames["scored"][1] | {"logit": 0, "probability": 0} == {
        "index": 1, "time": 0.04, "logit": 0, "probability": 0
    }
