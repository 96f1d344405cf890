"""The likelihood ratio of a score: how many times as often AI-generated images have that score as real ones do."""

from __future__ import annotations

import itertools
import math

import numpy as np
from pydantic import model_validator

from .manifest_part import Model

LOG10_WORDS = ((1, "weak"), (2, "moderate"), (3, "moderately strong"), (4, "strong"), (6, "very strong"))
"""Upper bounds as powers of ten, and the verbal scale of the ENFSI guideline for evaluative reporting in forensic
science (version 3.0, 2015, page 17): to 10 weak, to 100 moderate, to 1,000 moderately strong, to 10,000 strong, to
1,000,000 very strong, above extremely strong."""


class Likelihood(Model):
    """A function of the raw logit, given at knots.

    Between knots logarithms and shares are interpolated linearly; beyond the first and last knot they stay as they are
    there, because nothing was measured there.

    Attributes:
        logits: the knots, ascending.
        ratio: log10 of the likelihood ratio at each knot, never descending.
        low: log10 of the lower bound of its 95 % interval, from resampling sources; never descending.
        high: log10 of the upper bound; never descending.
        real_share: share of the measured real images with at least that logit, sources weighted alike; never ascending.
        ai_share: the same of the measured AI images.
    """

    logits: tuple[float, ...]
    ratio: tuple[float, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    real_share: tuple[float, ...]
    ai_share: tuple[float, ...]

    @model_validator(mode="after")
    def _consistent(self) -> Likelihood:
        columns = (self.ratio, self.low, self.high, self.real_share, self.ai_share)
        if len(self.logits) < 2 or any(len(column) != len(self.logits) for column in columns):
            raise ValueError("a likelihood ratio needs at least two knots, and each column a value for each knot")
        if any(a >= b for a, b in itertools.pairwise(self.logits)):
            raise ValueError("the knots must ascend")
        if any(a > b for column in columns[:3] for a, b in itertools.pairwise(column)):
            raise ValueError("a likelihood ratio must not descend")
        if any(a < b for column in columns[3:] for a, b in itertools.pairwise(column)):
            raise ValueError("a share of images with at least a logit must not ascend")
        if any(not low <= ratio <= high for low, ratio, high in zip(self.low, self.ratio, self.high, strict=True)):
            raise ValueError("low <= ratio <= high does not hold")
        if any(not 0 <= share <= 1 for column in columns[3:] for share in column):
            raise ValueError("a share must lie in [0, 1]")
        return self

    def at(self, logit: float) -> tuple[float, float, float, float, float]:
        """Ratio, lower and upper bound (all above 0, no logarithms), share of real and of AI images, at a raw logit."""
        columns = (self.ratio, self.low, self.high, self.real_share, self.ai_share)
        ratio, low, high, real, ai = (float(np.interp(logit, self.logits, column)) for column in columns)
        return 10**ratio, 10**low, 10**high, real, ai

    def supported(self, logit: float | np.ndarray) -> np.ndarray:
        """Natural logarithm of the ratio that the interval supports, of its value nearest to 1; shaped as `logit`."""
        low, high = (np.interp(logit, self.logits, column) for column in (self.low, self.high))
        return np.clip(0.0, low, high) * math.log(10)

    def logit_of(self, log_odds: float) -> float:
        """Smallest raw logit at which the ratio's natural logarithm reaches `log_odds`; infinite where none does."""
        ratio = np.asarray(self.ratio) * math.log(10)
        if log_odds > ratio[-1]:
            return math.inf
        if log_odds <= ratio[0]:
            return -math.inf
        after = int(np.searchsorted(ratio, log_odds))
        share = (log_odds - ratio[after - 1]) / (ratio[after] - ratio[after - 1])
        return float(self.logits[after - 1] + share * (self.logits[after] - self.logits[after - 1]))


def support_words(value: float, low: float, high: float) -> str:
    """The ENFSI words for a ratio and its interval; an interval that contains 1 supports neither side."""
    if low <= 1 <= high:
        return "no support either way"
    power = abs(math.log10(value))
    word = next((word for bound, word in LOG10_WORDS if power <= bound), "extremely strong")
    return f"{word} support for {'AI-generated' if value > 1 else 'real'}"
