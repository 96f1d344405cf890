"""Frames of animations: which are scored, the record of the most suspicious one, limits, damaged files."""

import io
import json
import struct
import zlib

import pytest
from cinemae.runtime.core.errors import UsageError
from cinemae.runtime.images import animation as animations
from cinemae.runtime.images.animation import spread
from cinemae.runtime.scoring.options import MAX_FRAMES, ScoringOptions
from cinemae.runtime.scoring.record import from_dict, to_json
from moving_pictures import animation, frames_of, many_tiny_frames
from pictures import encoded, picture
from PIL import Image

CLOSE = 1e-4  # the same image in another batch


def indices(record):
    return [frame.index for frame in record.frames.scored]


def text_of(record, code):
    """The one sentence of a reason."""
    (text,) = [reason.text for reason in record.reasons if reason.code == code]
    return text


def test_frames_are_spread_over_the_file():
    assert spread(10, 4) == [0, 3, 6, 9]
    assert spread(3, 4) == [0, 1, 2]
    assert spread(7, 1) == spread(1, 5) == spread(0, 5) == [0]
    for frames, most in {"first": 1, "all": MAX_FRAMES, "7": 7, 7: 7}.items():
        assert ScoringOptions(frames=frames).max_frames == most
    for wrong in ("0", "101", "-1", "1.5", "some", "", 0, "²"):
        with pytest.raises(UsageError, match="first, all or a number"):
            ScoringOptions(frames=wrong)


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP"])
def test_the_most_suspicious_frame_gives_the_record(detector, kind):
    pictures = frames_of(7)
    alone = [detector.detect(one) for one in pictures]
    record = detector.detect(animation(kind, pictures, duration=40))
    assert (record.status, record.frames.count, indices(record)) == ("ok", 7, [0, 2, 4, 6])
    assert [frame.time for frame in record.frames.scored] == pytest.approx([0, 0.08, 0.16, 0.24])
    for frame in record.frames.scored:
        expected = alone[frame.index].logit, alone[frame.index].probability
        assert (frame.logit, frame.probability) == pytest.approx(expected, abs=CLOSE)
    best = max((0, 2, 4, 6), key=lambda i: alone[i].logit)
    assert record.frames.verdict_from == best
    assert (record.logit, record.probability) == max((f.logit, f.probability) for f in record.frames.scored)
    assert record.stats.s1 == pytest.approx(alone[best].stats.s1, rel=1e-3)
    assert record.lcas == pytest.approx(alone[best].lcas, rel=1e-3, nan_ok=True)
    assert (record.run.false_alarm, record.run.miss) == (None, None)
    assert f"the frame of index {best} gives the verdict" in text_of(record, "frames")
    values = json.loads(to_json(record))
    assert from_dict(values) == record
    assert set(values["frames"]) == {"count", "verdict_from", "scored"}
    assert set(values["frames"]["scored"][0]) == {"index", "time", "logit", "probability"}


def test_still_images_stay_as_they_are(detector, load):
    assert load(frames="all").detect(encoded(picture())).logit == detector.detect(picture()).logit
    several_pages = encoded(picture(), "TIFF", save_all=True, append_images=[picture(seed=1)])
    for data in (several_pages, *(encoded(picture(), kind) for kind in ("GIF", "WEBP", "PNG"))):
        assert detector.detect(data).frames is None


def test_first_and_all(load):
    data = animation("GIF", frames_of(6))
    first, every = load(frames="first").detect(data), load(frames="all").detect(data)
    assert (indices(first), first.frames.count, indices(every)) == ([0], 6, list(range(6)))
    assert "only the first of its 6 frames" in text_of(first, "first")
    assert first.logit == every.frames.scored[0].logit


def test_a_batch_gives_what_singles_give(detector):
    sources = [encoded(picture(seed=9)), animation("GIF", frames_of(5)), b"broken", animation("PNG", frames_of(3))]
    together = list(detector.detect_many(sources, batch_size=3))
    for one, alone in zip(together, map(detector.detect, sources), strict=True):
        assert one.status == alone.status
        assert one.logit == (None if alone.logit is None else pytest.approx(alone.logit, abs=CLOSE))
        assert (one.frames is None) == (alone.frames is None)


@pytest.mark.parametrize("disposal", [0, 1, 2])
def test_frames_that_draw_over_the_ones_before(detector, disposal):
    """APNG with disposal: the canvas is what a viewer shows, also where a frame is only a corner of it."""
    corner = Image.new("RGBA", (96, 80))
    corner.paste((255, 0, 0, 255), (0, 0, 20, 20))
    data = animation("PNG", [picture(96, 80, 1).convert("RGBA"), corner, corner], disposal=disposal, blend=1)
    record = detector.detect(data)
    with Image.open(io.BytesIO(data)) as shown:
        assert record.frames.count == shown.n_frames
        for frame in record.frames.scored:
            shown.seek(frame.index)
            assert frame.logit == pytest.approx(detector.detect(shown.convert("RGBA")).logit, abs=CLOSE)


def test_a_truncated_animation_is_scored_up_to_the_damage(detector):
    whole = animation("GIF", frames_of(9))
    record = detector.detect(whole[: whole.rindex(b"!\xf9\x04") + 300])
    assert (record.status, record.frames.count, indices(record)[-1]) == ("ok", 9, 7)
    assert "frame 8 cannot be decoded" in text_of(record, "unseen")


def test_a_count_that_lies_hides_no_frame(detector):
    data = animation("PNG", frames_of(4))
    at = data.index(b"acTL")
    chunk = b"acTL" + struct.pack(">I", 1 << 30) + data[at + 8 : at + 12]
    record = detector.detect(data[:at] + chunk + struct.pack(">I", zlib.crc32(chunk)) + data[at + 16 :])
    assert indices(record) == [0, 1, 2, 3]
    assert "damaged: frame 4" in text_of(record, "unseen")


def test_a_gif_without_frames_is_one_failed_input(detector):
    record = detector.detect(b"GIF89a" + struct.pack("<HH", 8, 8) + b"\0\0\0;")
    assert (record.status, record.frames) == ("error", None)


def test_a_hundred_thousand_frames_cost_little(load):
    record = load(frames="all").detect(many_tiny_frames(100_000))
    assert (len(record.frames.scored), indices(record)[-1]) == (MAX_FRAMES, animations.MAX_FRAMES - 1)
    assert "only the first 10,000 frames" in text_of(record, "unseen")


def test_large_canvases_are_bounded_by_their_pixels_and_time(detector, monkeypatch):
    monkeypatch.setattr(animations, "MAX_ANIMATION_PIXELS", 96 * 80 * 3)
    record = detector.detect(animation("GIF", frames_of(8)))
    assert indices(record) == [0, 1, 2]
    assert "only the first 3 frames" in text_of(record, "unseen")
    monkeypatch.setattr(animations, "MAX_SECONDS", -1.0)
    assert indices(detector.detect(animation("GIF", frames_of(8)))) == [0]


@pytest.mark.parametrize("rest", [b"x" * 10_000, b"," + bytes(9) + b"\2" + b"\1x" * 10_000])
def test_blocks_of_a_gif_without_end_are_not_counted_for_ever(monkeypatch, rest):
    monkeypatch.setattr(animations, "MAX_BLOCKS", 1000)
    data = many_tiny_frames(1)[:-1]
    file = io.BytesIO(data + rest)
    assert animations._count_gif(file) <= 2
    assert file.tell() < len(data) + 3000
