"""Which frames of an animation or a video are scored."""

from __future__ import annotations


def spread(count: int, wanted: int) -> list[int]:
    """Indices of `wanted` of `count` frames, evenly spread, with the first and the last one among them."""
    if wanted < 2 or count < 2:
        return [0]
    wanted = min(count, wanted)
    return [round(i * (count - 1) / (wanted - 1)) for i in range(wanted)]
