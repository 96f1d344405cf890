"""Frames of a video, by PyAV (FFmpeg), which only the extra `video` installs."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any, BinaryIO, Generic

from PIL import Image

from ..core.environment import pip_install
from ..core.errors import ImageError
from ..core.read_ahead import check_stop
from .animation import Frame, LoadFrame, spread
from .decode import IN_FLIGHT, DecodedImage, named_errors, too_large
from .formats import can_read_video

MAX_VIDEO_PIXELS = 2_000_000_000
"""Pixels of all decoded frames together: 964 of 1920 x 1080. A frame between key frames needs those before it."""
MAX_SECONDS = 60.0
SEEK_SECONDS = 5.0
"""Up to this distance, decoding on to a frame is as fast as seeking it, which starts at the key frame before it."""
NO_PYAV = f"a video; reading its frames needs PyAV: {pip_install('video')}"
NO_VIDEO = "holds no video frame that can be decoded"
MISSED = "not every chosen frame of the video could be decoded: it is damaged, or takes too long"


def read_video(
    file: BinaryIO, container: str, wanted: int, load: LoadFrame[Frame], *, max_pixels: int, name: str
) -> tuple[tuple[Frame, ...], int | None, tuple[str, ...]]:
    """Load `wanted` frames, evenly spread.

    Args:
        file: the video, seekable.
        container: FFmpeg's name of its container; no other demuxer is started, and nothing else is opened.
        wanted: number of frames.
        load: called for each of these frames.
        max_pixels: videos of larger frames are refused.
        name: the source's name in messages.

    Returns:
        the frames; how many are in the file, None where unknown; sentences about frames that were not looked at.

    Raises:
        ImageError: PyAV is missing, or no frame can be decoded.
    """
    if not can_read_video():
        raise ImageError(f"{name}: {NO_PYAV}", "unsupported")
    import av

    with named_errors(name, max_pixels), av.open(
        file, format=container, container_options={"protocol_whitelist": "none"}, metadata_errors="ignore"
    ) as opened:
        if not opened.streams.video:
            raise ImageError(NO_VIDEO)
        stream = opened.streams.video[0]
        size = stream.codec_context.width * stream.codec_context.height
        if size > max_pixels:
            raise too_large(f"{stream.codec_context.width} x {stream.codec_context.height}", max_pixels)
        stream.codec_context.thread_count = 1
        with IN_FLIGHT.hold(max(size, 1)):
            return _Reader(opened, stream, wanted, load, max_pixels).read()


class _Reader(Generic[Frame]):
    def __init__(self, opened: Any, stream: Any, wanted: int, load: LoadFrame[Frame], max_pixels: int) -> None:
        self._opened, self._stream, self._wanted, self._load = opened, stream, wanted, load
        self._max_pixels, self._start = max_pixels, time.monotonic()
        self._pixels, self._missed = MAX_VIDEO_PIXELS, False
        self._rate = float(stream.average_rate or stream.guessed_rate or 0)
        self._first: float | None = None

    def read(self) -> tuple[tuple[Frame, ...], int | None, tuple[str, ...]]:
        count = self._count()
        frames = self._unknown_length() if count is None else self._spread(count)
        if not frames:
            raise ImageError(NO_VIDEO)
        missed = self._missed or self._is_late() or (count is not None and len(frames) < min(count, self._wanted))
        return tuple(frames), count, (MISSED,) if missed else ()

    def _is_late(self) -> bool:
        return self._pixels < 0 or time.monotonic() - self._start > MAX_SECONDS

    def _count(self) -> int | None:
        stream, opened = self._stream, self._opened
        if stream.frames > 0 and self._rate > 0:
            return int(stream.frames)
        seconds = 0.0
        if stream.duration and stream.time_base:
            seconds = float(stream.duration * stream.time_base)
        elif opened.duration:
            seconds = opened.duration / 1_000_000
        return round(seconds * self._rate) if seconds * self._rate >= 1 else None

    def _decode(self) -> Iterator[tuple[Any, float | None]]:
        """Frames from the current position with their times in seconds; a damaged one ends them."""
        try:
            for frame in self._opened.decode(self._stream):
                check_stop()
                if frame.width * frame.height > self._max_pixels:
                    return
                self._pixels -= frame.width * frame.height
                at = frame.time
                if self._first is None:
                    self._first = at or 0.0
                yield frame, None if at is None else max(0.0, at - self._first)
                if self._is_late():
                    return
        except (ValueError, OSError, EOFError):  # FFmpeg's errors; the frames before it stand
            return

    def _spread(self, count: int) -> list[Frame]:
        """Frames near the wanted positions, each found from the key frame before it."""
        found: list[Frame] = []
        budget, latest, frames = MAX_VIDEO_PIXELS // self._wanted, -1.0, self._decode()
        for target in spread(count, self._wanted):
            seconds, left = target / self._rate, self._pixels - budget
            if seconds - max(latest, 0) > SEEK_SECONDS:
                try:
                    offset = round((seconds + (self._first or 0.0)) / self._stream.time_base)
                    self._opened.seek(offset, stream=self._stream)
                except (ValueError, OSError):
                    break
                frames = self._decode()
            best = None
            for frame, at in frames:
                at = latest + 1 / self._rate if at is None else at
                best = (frame, at)
                if at >= seconds - 0.5 / self._rate or self._pixels < left:
                    break
            if best is None:  # fewer frames than the header claims
                break
            self._missed |= best[1] < seconds - 1.5 / self._rate  # a header may count one frame too many
            if best[1] > latest:
                latest = best[1]
                found.append(self._loaded(best[0], round(latest * self._rate), latest))
        return found

    def _unknown_length(self) -> list[Frame]:
        """Spread over what can be decoded: every frame at first, then every second one, every fourth one and so on."""
        kept: list[Frame] = []
        stride = 1
        for index, (frame, at) in enumerate(self._decode()):
            if index % stride == 0:
                kept.append(self._loaded(frame, index, at))
                if len(kept) > 2 * self._wanted:
                    kept, stride = kept[::2], stride * 2
            if self._wanted == 1:
                break
        return [kept[i] for i in spread(len(kept), self._wanted)] if kept else []

    def _loaded(self, frame: Any, index: int, at: float | None) -> Frame:
        image: Image.Image = frame.to_image()
        turns = round(getattr(frame, "rotation", 0) / 90) % 4
        if turns:
            image = image.transpose((Image.Transpose.ROTATE_90, Image.Transpose.ROTATE_180,
                                     Image.Transpose.ROTATE_270)[turns - 1])
        return self._load(DecodedImage(image, *image.size), index, None if at is None else round(at, 3))
