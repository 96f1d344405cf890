"""An abandoned run ends between two frames or reads, whatever its threads are decoding."""

import io
import threading

import pytest
from cinemae.runtime.core import read_ahead
from cinemae.runtime.core.files import CHUNK_BYTES, stream_sha256
from cinemae.runtime.core.read_ahead import Stopped, stop_with
from cinemae.runtime.scoring.pipeline import decode_and_score
from moving_pictures import animation, frames_of, many_tiny_frames, video
from PIL.GifImagePlugin import GifImageFile


@pytest.fixture
def stopped(monkeypatch):
    """The event that ends the work of this thread, during the test."""
    monkeypatch.setattr(read_ahead, "_of_thread", threading.local())
    event = threading.Event()
    stop_with(event)
    return event


def test_an_interrupted_run_ends_a_long_animation_at_its_next_frame(load, monkeypatch):
    detector = load(frames="all")
    threads, decoding, closed, sought, seek = [], threading.Event(), threading.Event(), [], GifImageFile.seek

    def waits(image, frame):
        threads.append(threading.current_thread())
        decoding.set()
        assert closed.wait(60)
        sought.append(frame)
        seek(image, frame)

    def sources():
        yield animation("GIF", frames_of(50))
        assert decoding.wait(60)
        raise KeyboardInterrupt

    monkeypatch.setattr(GifImageFile, "seek", waits)
    with pytest.raises(KeyboardInterrupt):
        list(decode_and_score(sources(), detector.prepare, detector.begin, batch_size=1, workers=1))
    closed.set()
    threads[0].join(60)
    assert (threads[0].is_alive(), len(sought)) == (False, 1)


@pytest.mark.parametrize("data", [
    *(animation(kind, frames_of(3)) for kind in ("GIF", "PNG", "WEBP")), video(frames_of(3)), many_tiny_frames(20),
])
def test_no_format_takes_the_stop_for_damage(detector, data, stopped):
    assert detector.prepare(data).error is None
    stopped.set()
    with pytest.raises(Stopped):
        detector.prepare(data)


def test_reads_of_a_large_file_end(stopped):
    file = io.BytesIO(bytes(3 * CHUNK_BYTES))
    stopped.set()
    with pytest.raises(Stopped):
        stream_sha256(file)
    assert file.tell() == CHUNK_BYTES
