"""Which frames of an animation or a video are scored."""

from __future__ import annotations

from ..core.errors import UsageError
from ..core.text import shown

DEFAULT_FRAMES = 4
MAX_SCORED = 100
"""Frames of one file that are scored at most, also under `all`: their crops are in memory together (15 MB)."""
FIRST, ALL = "first", "all"


def frames_wanted(frames: int | str) -> int:
    """The number of frames that `first`, `all` or a number asks for.

    Raises:
        UsageError: something else, or a number outside [1, `MAX_SCORED`].
    """
    text = str(frames)
    number = {FIRST: 1, ALL: MAX_SCORED}.get(text, int(text) if text.isascii() and text.isdigit() else 0)
    if not 1 <= number <= MAX_SCORED:
        raise UsageError(f"frames are {FIRST}, {ALL} or a number from 1 to {MAX_SCORED}, got {shown(text)}")
    return number


def spread(count: int, wanted: int) -> list[int]:
    """Indices of `wanted` of `count` frames, evenly spread, with the first and the last one among them."""
    if wanted < 2 or count < 2:
        return [0]
    wanted = min(count, wanted)
    return [round(i * (count - 1) / (wanted - 1)) for i in range(wanted)]
