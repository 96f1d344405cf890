"""How the records of a run are to be read: base rate, thresholds as probabilities, error rates, and the words for them.

Terminal, report and server's page take their words from here. A probability depends on the base rate, a verdict does
not; so the two can point in different directions, and then the verdict is displayed without its colour.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from ..core.calibration import Calibration
from ..core.errors import UsageError
from .promise import NEITHER, OWN_THRESHOLD, promise
from .record import Verdict
from .verdict import Decision

CONTRARY = "the probability points the other way"
CAVEAT = "Rates hold for the kinds of images that the engine was measured on; images of a new kind can exceed them."


@dataclass(frozen=True)
class Reading:
    """What a reader of the records must know. All numbers are in [0, 1].

    Attributes:
        prior: share of AI images that the probabilities assume.
        ai_from: probability from which the verdict is `ai`; None where it is never given.
        real_below: probability below which it is `real`; None where it is never given.
        false_alarm: largest share of real images called ai; None where none is known.
        miss: largest share of AI images called real; None where none is known.
        own: the caller gave one threshold in place of the engine's two.
    """

    prior: float
    ai_from: float | None
    real_below: float | None
    false_alarm: float | None
    miss: float | None
    own: bool

    @classmethod
    def of(cls, calibration: Calibration, decision: Decision, prior: float = 0.5) -> Reading:
        """The reading of records that were made with `decision` at the base rate `prior`.

        Raises:
            UsageError: a prior outside (0, 1).
        """
        if not 0 < prior < 1:
            raise UsageError(f"a prior is a share of images between 0 and 1 (both excluded), got {prior}")

        def probability(logit: float) -> float | None:
            return calibration.probability(logit, prior) if math.isfinite(logit) else None

        return cls(
            prior, probability(decision.ai_from), probability(decision.real_below), decision.false_alarm,
            decision.miss, decision.own,
        )

    def words(self) -> dict[str, str]:
        """What each verdict promises (keys `ai`, `real`, `uncertain`), and the sentences beside them.

        `prior` names the base rate, `caveat` limits the rates, `contrary` marks a verdict whose probability points the
        other way.
        """
        return {
            "ai": promise(self.ai_from, self.false_alarm, "real", self.own),
            "real": promise(self.real_below, self.miss, "AI", self.own),
            "uncertain": NEITHER,
            "prior": f"assuming that {100 * self.prior:g} % of the images are AI-generated",
            "caveat": "" if self.false_alarm is None and self.miss is None else CAVEAT,
            "contrary": CONTRARY,
        }

    def legend(self) -> list[str]:
        """The same as lines of text."""
        words = self.words()
        claims = "; ".join(f"{verdict}: {words[verdict]}" for verdict in ("ai", "real", "uncertain"))
        base_rate = f"P(AI): {words['prior']}."
        return [f"ai and real: {OWN_THRESHOLD}" if self.own else claims, f"{words['caveat']} {base_rate}".strip()]


def is_contrary(verdict: Verdict | None, probability: float | None) -> bool:
    """Whether a verdict stands beside a probability on the other side of one half."""
    if probability is None:
        return False
    return probability > 0.5 if verdict == "real" else verdict == "ai" and probability < 0.5
