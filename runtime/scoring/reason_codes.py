"""Short codes for reasons, where a sentence has no room: the table on a terminal."""

from __future__ import annotations

import re

from . import reasons
from .reading import CONTRARY

CODES = {
    "tiny": reasons.TINY,
    "small": reasons.UPSCALED,
    "crop": reasons.CROPPED,
    "grey": reasons.GRAYSCALE,
    "flat": reasons.LOW_CONTEXT,
    "s1": reasons.OUTSIDE_S1,
    "s2-": reasons.LOW_S2,
    "s2+": reasons.HIGH_S2,
    "s3+": reasons.HIGH_S3,
    "tiles": reasons.TILES,
    "first": reasons.FRAME_OF,
    "frames": reasons.FRAMES,
    "band": reasons.BAND,
    "near": reasons.NEAR_BAND,
    "norate": reasons.UNCALIBRATED,
    "prior": CONTRARY,
}
"""Code -> sentence, or its format with a number."""
_NUMBER = re.compile(r"\{[^}]*\}")


def reason_code(reason: str) -> str | None:
    """The code of a reason; None for a sentence that has none."""
    return next((code for code, sentence in CODES.items() if _pattern(sentence).fullmatch(reason)), None)


def legend_of(code: str) -> str:
    """The sentence of a code, for all images: a number that differs between them is left open."""
    return _NUMBER.sub("N", CODES[code])


def _pattern(sentence: str) -> re.Pattern[str]:
    return re.compile(r"\S+".join(map(re.escape, _NUMBER.split(sentence))))
