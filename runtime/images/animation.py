"""Frames of an animated GIF, WebP, PNG or AVIF, decoded one after the other: each is drawn over the one before."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import BinaryIO, TypeAlias, TypeVar

from PIL import Image

from ..core.read_ahead import check_stop
from .decode import DecodedImage, upright
from .modes import to_rgb

ANIMATED = ("GIF", "WEBP", "PNG", "AVIF")
"""Formats whose further pictures are frames. Those of TIFF, MPO and HEIF are pages, depth maps or other photographs."""
MAX_FRAMES = 10_000
"""Frames that are looked at; of longer animations, the beginning."""
MAX_ANIMATION_PIXELS = 400_000_000
"""Pixels of all decoded frames together: 192 frames of 1920 x 1080, in a few seconds."""
MAX_SECONDS = 60.0
MAX_BLOCKS = 4_000_000
"""Blocks of a GIF that are counted: the 1 GiB that a file may have, in blocks of usual length."""
ONLY_FIRST = "only the first {:,} frames of the animation were looked at"
DAMAGED = "the animation is damaged: frame {:,} cannot be decoded"

Frame = TypeVar("Frame")
LoadFrame: TypeAlias = Callable[[DecodedImage, int, float | None], Frame]
"""Turns a decoded frame, its index and its time into the result that is kept."""


def spread(count: int, wanted: int) -> list[int]:
    """Indices of `wanted` of `count` frames, evenly spread, with the first and the last one among them."""
    if wanted < 2 or count < 2:
        return [0]
    wanted = min(count, wanted)
    return [round(i * (count - 1) / (wanted - 1)) for i in range(wanted)]


def read_animation(
    first: DecodedImage, file: BinaryIO, wanted: int, load: LoadFrame[Frame]
) -> tuple[tuple[Frame, ...], int, tuple[str, ...]]:
    """Load `wanted` frames, evenly spread.

    Args:
        first: the first frame; a still image gives one frame.
        file: the file behind it, seekable.
        wanted: number of frames.
        load: called for each of these frames.

    Returns:
        the frames; how many are in the file, 1 for a still image; sentences about frames that were not looked at.
    """
    image = first.opened
    claimed = 1
    if image is not None and image.format in ANIMATED:
        claimed = _count_gif(file) if image.format == "GIF" else int(getattr(image, "n_frames", 1))
    if image is None or claimed < 2:
        return (load(first, 0, None),), 1, ()
    found = {0: load(first, 0, 0.0 if "duration" in image.info else None)}
    reach = min(claimed, MAX_FRAMES, max(1, MAX_ANIMATION_PIXELS // (first.width * first.height)))
    stopped = _load(image, spread(reach, wanted), load, found)
    notes = [ONLY_FIRST.format(reach)] if reach < claimed and wanted > 1 else []
    if isinstance(stopped, int):
        notes = [DAMAGED.format(stopped)]
        _load(image, spread(stopped, wanted), load, found)  # a wrong count must not hide the frames that are there
    elif stopped is not None:
        notes = [stopped]
    return tuple(found[index] for index in sorted(found)), claimed, tuple(notes)


def _load(
    image: Image.Image, indices: list[int], load: LoadFrame[Frame], found: dict[int, Frame]
) -> int | str | None:
    """Add the frames of `indices` to `found`; why that stopped early: index of a damaged frame, or a sentence."""
    missing = set(indices) - found.keys()
    start, at, timed, index = time.monotonic(), 0.0, True, 0
    try:
        if missing and image.tell():
            image.seek(0)
            image.load()
        for index in range(1, max(missing, default=0) + 1):
            check_stop()
            if time.monotonic() - start > MAX_SECONDS:
                return ONLY_FIRST.format(index)
            timed = timed and "duration" in image.info
            at += float(image.info.get("duration") or 0) / 1000
            image.seek(index)
            image.load()
            if index in missing:
                rgb = to_rgb(upright(image))
                found[index] = load(DecodedImage(rgb, *rgb.size), index, round(at, 3) if timed else None)
    except Exception:  # Pillow's decoders raise almost anything on damaged data; the frames before it stand
        return index
    return None


def _count_gif(file: BinaryIO) -> int:
    """Frames of a GIF, by its block structure, at most one more than `MAX_FRAMES`. Pillow's own count has no limit."""
    file.seek(10)
    flags = (file.read(3) or b"\0")[0]
    file.seek(3 << (flags & 7) + 1 if flags & 128 else 0, os.SEEK_CUR)
    count = blocks = 0
    while count <= MAX_FRAMES and blocks <= MAX_BLOCKS and (kind := file.read(1)) not in (b"", b";"):
        blocks += 1
        check_stop()
        if kind == b"!":
            file.seek(1, os.SEEK_CUR)
        elif kind == b",":
            head = file.read(9)
            if len(head) < 9:
                break
            file.seek((3 << (head[8] & 7) + 1 if head[8] & 128 else 0) + 1, os.SEEK_CUR)
            count += 1
        else:
            continue
        while size := file.read(1)[:1]:
            blocks += 1
            if size == b"\0":
                break
            if blocks > MAX_BLOCKS:
                return count
            file.seek(size[0], os.SEEK_CUR)
    return count
