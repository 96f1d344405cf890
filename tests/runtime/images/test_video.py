"""Frames of videos, where PyAV is installed; and what a video says where it is not."""

import io

import pytest
from cinemae.runtime.core.environment import pip_install
from cinemae.runtime.images import video as videos
from cinemae.runtime.images.formats import can_read_video, is_image_file, video_container
from cinemae.runtime.scan.inputs import Inputs
from moving_pictures import video
from pictures import encoded, picture

MP4 = b"\0\0\0\x1cftypisom\0\0\x02\0"
needs_av = pytest.mark.skipif(not can_read_video(), reason="needs PyAV: the extra video")
LOSSY = 0.35
"""Logits of a compressed frame against those of the picture before compression, on the tests' engine."""


def texts(record):
    """The sentences that qualify a record."""
    return " ".join(reason.text for reason in record.reasons)


@pytest.mark.parametrize(
    ("head", "container"),
    [
        (MP4, "mov"), (b"\0\0\0\x14ftypqt  \0\0\0\0", "mov"), (b"\0\0\0\x08wide\0\0\0\0mdat", "mov"),
        (b"\x1aE\xdf\xa3" + bytes(12), "matroska"), (b"RIFF\0\0\0\0AVI LIST", "avi"), (b"RIFF\0\0\0\0WEBPVP8 ", None),
        (b"\0\0\0\x18ftypheic\0\0\0\0", None), (b"\0\0\0\x18ftypavis\0\0\0\0", None),
        (b"\0\0\0\x18ftypcrx \0\0\0\0", None),
        (b"#EXTM3U\n#EXT-X-", None), (b"", None), (b"\x89PNG\r\n\x1a\n", None),
    ],
)
def test_videos_are_told_by_their_first_bytes(head, container):
    """Playlists, which name other files, are no videos: FFmpeg is told the container and chooses none itself."""
    file = io.BytesIO(head)
    assert (video_container(file), file.tell()) == (container, 0)


def test_without_pyav_a_named_video_says_what_to_install(detector, tmp_path, monkeypatch):
    (tmp_path / "a.mp4").write_bytes(MP4 + bytes(100))
    (tmp_path / "b.png").write_bytes(encoded(picture()))
    for module in ("cinemae.runtime.images.video", "cinemae.runtime.images.formats"):
        monkeypatch.setattr(f"{module}.can_read_video", lambda: False)
    error = detector.detect(str(tmp_path / "a.mp4")).error
    assert error.kind == "unsupported"
    assert pip_install("video") in error.text
    inputs = Inputs((str(tmp_path),))
    assert [item.name for item in inputs] == [str(tmp_path / "b.png")]
    assert ".mp4 1" in inputs.skipped.summary()
    assert pip_install("video") in inputs.skipped.summary()


@needs_av
@pytest.mark.parametrize("kind", ["mp4", "mov", "matroska", "avi", "webm"])
def test_frames_are_spread_over_a_video(detector, kind, tmp_path):
    pictures = [picture(96, 80, seed // 10) for seed in range(40)]
    data = video(pictures, kind)
    record = detector.detect(data)
    assert (record.status, record.frames.count) == ("ok", 40)
    assert [frame.index for frame in record.frames.scored] == [0, 13, 26, 39]
    assert [frame.time for frame in record.frames.scored] == pytest.approx([0, 1.3, 2.6, 3.9], abs=0.02)
    for frame in record.frames.scored:
        assert frame.logit == pytest.approx(detector.detect(pictures[frame.index]).logit, abs=LOSSY)
    assert (record.width, record.height) == (96, 80)
    assert record.logit == max(frame.logit for frame in record.frames.scored)
    (tmp_path / "clip.MP4").write_bytes(data)
    assert is_image_file(str(tmp_path / "clip.MP4"))
    assert detector.detect(str(tmp_path / "clip.MP4")).frames == record.frames


@needs_av
def test_a_long_video_is_sought_and_not_decoded_whole(detector, monkeypatch):
    pictures = [picture(96, 80, seed) for seed in range(4)]
    data = video([pictures[i // 100] for i in range(400)])
    seen = []
    real = videos._Reader._decode

    def counting(self):
        for item in real(self):
            seen.append(item[1])
            yield item

    monkeypatch.setattr(videos._Reader, "_decode", counting)
    record = detector.detect(data)
    assert [frame.index for frame in record.frames.scored] == [0, 133, 266, 399]
    assert len(seen) < 60


@needs_av
def test_limits_of_decoding(detector, load, monkeypatch):
    data = video([picture(96, 80, seed) for seed in range(30)], gop=30)
    monkeypatch.setattr(videos, "MAX_VIDEO_PIXELS", 96 * 80 * 8)
    record = detector.detect(data)
    assert record.status == "ok"
    assert len(record.frames.scored) < 4 or record.frames.scored[-1].index < 29
    assert "not every chosen frame" in texts(record)
    assert load(max_pixels=1000).detect(data).error.kind == "too_large"


@needs_av
def test_a_video_of_unknown_length(detector, monkeypatch):
    """As browsers record them: no duration, no number of frames."""
    data = video([picture(96, 80, seed // 10) for seed in range(40)], "matroska")
    monkeypatch.setattr(videos._Reader, "_count", lambda self: None)
    record = detector.detect(data)
    assert record.frames.count is None
    assert (len(record.frames.scored), record.frames.scored[0].index) == (4, 0)
    assert record.frames.scored[-1].index >= 30
    assert "most suspicious of 4 scored (of ? in" in texts(record)


@needs_av
@pytest.mark.parametrize("cut", [0.02, 0.3, 0.8])
@pytest.mark.parametrize("kind", ["mp4", "matroska"])
def test_damaged_videos_are_records(detector, kind, cut):
    data = video([picture(96, 80, seed // 10) for seed in range(40)], kind)
    record = detector.detect(data[: int(len(data) * cut)])
    if record.status == "ok":
        assert "not every chosen frame" in texts(record) or record.frames.count is None
    else:
        assert "\n" not in record.error.text
    assert detector.detect(MP4 + bytes(1000)).status == "error"


@needs_av
def test_sound_alone_is_no_video(detector):
    import av
    import numpy as np

    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as container:
        stream = container.add_stream("aac", rate=8000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    assert "no video frame" in detector.detect(buffer.getvalue()).error.text
