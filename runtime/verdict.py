"""From a raw logit to probability, verdict and reasons in words.

The band of the manifest, `uncertain_low` to `uncertain_high`, decides: below it `real`, above it `ai`, inside it
`uncertain`. A reason says that the input is unlike what the head was fitted on. Such an input must clear the band by
the band's own width as well, so a reason turns a verdict into `uncertain` only near the band, and an engine with an
empty band never answers `uncertain`. A threshold given by the caller replaces threshold and band for every input.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from .errors import UsageError
from .manifest import Calibration
from .reasons import BAND, NEAR_BAND
from .records import Stats, Verdict


@dataclass(frozen=True)
class Decision:
    """threshold, low, high: raw logits, low <= threshold <= high. An empty band (low = high) is never uncertain."""

    threshold: float
    low: float
    high: float

    @classmethod
    def of(cls, calibration: Calibration, threshold: float | None = None) -> Decision:
        """The manifest's decision, or for a probability `threshold` in (0, 1) that cut alone, without a band.

        Raises:
            UsageError: a threshold outside (0, 1).
        """
        if threshold is None:
            return cls(calibration.threshold, calibration.uncertain_low, calibration.uncertain_high)
        if not 0 < threshold < 1:
            raise UsageError(f"a threshold is a probability between 0 and 1 (both excluded), got {threshold}")
        cut = calibration.logit_of(threshold)
        return cls(cut, cut, cut)


def decide(logit: float, decision: Decision, unusual: bool) -> Verdict:
    """The verdict for a finite raw logit; `unusual`: at least one reason speaks against trusting it."""
    width = decision.high - decision.low
    margin = width if unusual else 0.0
    if width > 0 and decision.low - margin <= logit <= decision.high + margin:
        return "uncertain"
    return "ai" if logit >= decision.threshold else "real"


def band_reason(logit: float, decision: Decision, verdict: Verdict) -> str | None:
    """Why a verdict is `uncertain`."""
    if verdict != "uncertain":
        return None
    return BAND if decision.low <= logit <= decision.high else NEAR_BAND


def is_finite(logit: float, stats: Stats) -> bool:
    """Whether a score can be used at all."""
    return all(math.isfinite(value) for value in (logit, stats.s1, stats.s2, stats.s3))
