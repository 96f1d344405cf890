"""From a raw logit to a verdict.

The band of the manifest, `uncertain_low` to `uncertain_high`, decides: below it `real`, above it `ai`, inside it
`uncertain`. A reason says that the input differs from the images that the head was fitted on. For such an input the
band is widened on both sides by its own width, so a reason turns a verdict into `uncertain` only near the band, and an
engine with an empty band never answers `uncertain`. A threshold given by the caller replaces threshold and band.
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
    """Threshold and uncertain band, as raw logits with low <= threshold <= high.

    Attributes:
        threshold: from here on an image is `ai`.
        low: lower end of the uncertain band.
        high: upper end; a band with low = high is empty.
    """

    threshold: float
    low: float
    high: float

    @classmethod
    def of(cls, calibration: Calibration, threshold: float | None = None) -> Decision:
        """The manifest's threshold and band, or `threshold` without a band.

        Args:
            calibration: of the manifest.
            threshold: a probability in (0, 1), or None.

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
    """The verdict.

    Args:
        logit: raw and finite.
        decision: threshold and uncertain band.
        unusual: whether the input has at least one reason, which widens the band.
    """
    width = decision.high - decision.low
    margin = width if unusual else 0.0
    if width > 0 and decision.low - margin <= logit <= decision.high + margin:
        return "uncertain"
    return "ai" if logit >= decision.threshold else "real"


def band_reason(logit: float, decision: Decision, verdict: Verdict) -> str | None:
    """The sentence for a verdict of `uncertain`; None for the others."""
    if verdict != "uncertain":
        return None
    return BAND if decision.low <= logit <= decision.high else NEAR_BAND


def is_finite(logit: float, stats: Stats) -> bool:
    """Whether the logit and all statistics are finite."""
    return all(math.isfinite(value) for value in (logit, stats.s1, stats.s2, stats.s3))
