"""From a raw logit to the verdict: `ai` and `real` are claims with an error rate, `uncertain` is neither.

The engine stores two thresholds (`manifest.Calibration`). From `ai_from` on the verdict is `ai`: at most a share
`false_alarm` of real images gets there. Below `real_below` it is `real`: at most a share `miss` of AI images lies
there. Between them it is `uncertain`. A reason says that the input differs from the images that the head was fitted
on; such an input must clear the band between the thresholds by the band's own width as well. A threshold given by the
caller replaces both, and promises nothing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from ..core.calibration import Calibration
from ..core.errors import UsageError
from .reasons import BAND, NEAR_BAND, UNCALIBRATED
from .record import Stats, Verdict


@dataclass(frozen=True)
class Decision:
    """The thresholds of a run.

    Attributes:
        ai_from: raw logit from which the verdict is `ai`; infinite where it is never given.
        real_below: raw logit below which it is `real`, at most `ai_from`; minus infinity where it is never given.
        false_alarm: largest share of real images called ai; None where nothing is promised.
        miss: largest share of AI images called real; None where nothing is promised.
        own: both thresholds are one that the caller gave.
        uncalibrated: they are the engine's, and no rate is known for either.
    """

    ai_from: float
    real_below: float
    false_alarm: float | None = None
    miss: float | None = None
    own: bool = False
    uncalibrated: bool = False

    @classmethod
    def of(cls, calibration: Calibration, threshold: float | None = None) -> Decision:
        """The engine's decision, or for a probability `threshold` in (0, 1) that cut alone, without a band.

        The threshold is a probability at equal priors, whatever prior the run has.

        Raises:
            UsageError: a threshold outside (0, 1).
        """
        if threshold is None:
            c = calibration
            false_alarm = None if c.ai_from is None else c.false_alarm
            miss = None if c.real_below is None else c.miss
            return cls(
                math.inf if c.ai_from is None else c.ai_from, -math.inf if c.real_below is None else c.real_below,
                false_alarm, miss, uncalibrated=false_alarm is None and miss is None,
            )
        if not 0 < threshold < 1:
            raise UsageError(f"a threshold is a probability between 0 and 1 (both excluded), got {threshold}")
        cut = calibration.logit_of(threshold)
        return cls(cut, cut, own=True)

    def verdict(self, logit: float) -> Verdict:
        """The verdict for a finite raw logit of an ordinary image. The one comparison of training and runtime."""
        if logit >= self.ai_from:
            return "ai"
        return "real" if logit < self.real_below else "uncertain"


def decide(logit: float, decision: Decision, unusual: bool) -> Verdict:
    """The verdict for a finite raw logit; `unusual`: at least one reason speaks against trusting it."""
    width = decision.ai_from - decision.real_below
    if unusual and width > 0 and decision.real_below - width <= logit < decision.ai_from + width:
        return "uncertain"
    return decision.verdict(logit)


def verdict_reasons(logit: float, decision: Decision, verdict: Verdict) -> list[str]:
    """Why a verdict is `uncertain`, and that no rate is known for the engine's verdicts."""
    reasons = []
    if verdict != decision.verdict(logit):
        reasons.append(NEAR_BAND)
    elif verdict == "uncertain" and not decision.uncalibrated:
        reasons.append(BAND)
    return [*reasons, UNCALIBRATED] if decision.uncalibrated else reasons


def is_finite(logit: float, stats: Stats) -> bool:
    """Whether the logit and all statistics are finite."""
    return all(math.isfinite(value) for value in (logit, stats.s1, stats.s2, stats.s3))
