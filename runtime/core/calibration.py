"""Calibration of an engine: its likelihood ratio, and the two thresholds that make both verdicts claims."""

from __future__ import annotations

import itertools
import math
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

LOG10_WORDS = ((1, "weak"), (2, "moderate"), (3, "moderately strong"), (4, "strong"), (6, "very strong"))
"""Upper bounds as powers of ten, and the verbal scale of the ENFSI guideline for evaluative reporting in forensic
science (version 3.0, 2015, page 17): to 10 weak, to 100 moderate, to 1,000 moderately strong, to 10,000 strong, to
1,000,000 very strong, above extremely strong."""
QUANTILES = (0.0, 0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 1.0)
"""Levels of the quantiles that are kept of each source's logits."""


class Model(BaseModel):
    """Base of every part of the manifest: immutable, no unknown fields, no NaN."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Likelihood(Model):
    """How many times as often AI-generated images have a score as real ones do: a function of the raw logit, by knots.

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

    @property
    def auc(self) -> float:
        """Area under the ROC curve of the measured images, in [0, 1]; the sources of a class weigh alike."""
        real, ai = (-np.diff(column, append=0.0) for column in (self.real_share, self.ai_share))
        return float(ai @ (1 - np.asarray(self.real_share) + real / 2))

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


class SourceRates(Model):
    """The verdicts that one source's images got from a head that had not seen the source.

    Attributes:
        source: name of the generator or collection.
        label: class of its images.
        images: how many.
        ai: share called ai, in [0, 1].
        real: share called real; the rest is uncertain.
        quantiles: of the logits of its images, at `QUANTILES`.
        counted: false: with so few images the source set no threshold, and no rate is promised for it.
    """

    source: str
    label: Literal["ai", "real"]
    images: int = Field(ge=1)
    ai: float = Field(ge=0, le=1)
    real: float = Field(ge=0, le=1)
    quantiles: tuple[float, ...] = ()
    counted: bool = True

    @property
    def uncertain(self) -> float:
        """Share called uncertain, in [0, 1]."""
        return max(0.0, 1 - self.ai - self.real)


class Calibration(Model):
    """Likelihood ratio and the two thresholds, in raw logits.

    The verdict is `ai` from `ai_from` on (logit >= ai_from), `real` below `real_below` (logit < real_below), and
    `uncertain` between them. Where both are equal nothing is uncertain.

    Attributes:
        likelihood: None where it was not measured: the ratio then is that of the paper, exp(logit).
        ai_from: None: no image is ever called ai, because too few real ones were there to promise `false_alarm`, or
            because the verdict is withheld.
        real_below: None: no image is ever called real.
        false_alarm: largest share of a source's real images that get `ai`, in (0, 1); None where nothing is promised.
        miss: largest share of a source's AI images that get `real`, in (0, 1); None where nothing is promised.
        false_alarm_gamma: largest share of new sources whose real images may exceed `false_alarm`, in (0, 1].
        miss_gamma: largest share of new sources whose AI images may exceed `miss`, in (0, 1].
        withheld: verdicts that are never given, because at no logit beyond their threshold the interval of the
            likelihood ratio lies on their side of 1.
        lowest_quality: lowest JPEG quality of images behind the rates, in 1 to 100; None where none was recorded.
        n_real: real images behind `ai_from`.
        n_ai: AI images behind `real_below`.
        sources: the rates reached, source by source.
        fitted_on: the images behind all this, in words.
    """

    likelihood: Likelihood | None = None
    ai_from: float | None = 0.0
    real_below: float | None = 0.0
    false_alarm: float | None = Field(None, gt=0, lt=1)
    miss: float | None = Field(None, gt=0, lt=1)
    false_alarm_gamma: float = Field(1.0, gt=0, le=1)
    miss_gamma: float = Field(1.0, gt=0, le=1)
    withheld: tuple[Literal["ai", "real"], ...] = ()
    lowest_quality: int | None = Field(None, ge=1, le=100)
    n_real: int = Field(0, ge=0)
    n_ai: int = Field(0, ge=0)
    sources: tuple[SourceRates, ...] = ()
    fitted_on: str = "not calibrated"

    @model_validator(mode="after")
    def _ordered(self) -> Calibration:
        if self.ai_from is not None and self.real_below is not None and self.real_below > self.ai_from:
            raise ValueError("real_below <= ai_from does not hold")
        return self

    def probability(self, logit: float, prior: float = 0.5) -> float:
        """P(AI) in [0, 1] of a raw logit, where `prior`, in (0, 1), is the share of AI images among those scored.

        Prior odds times the part of the likelihood ratio that its interval supports.
        """
        ratio = logit if self.likelihood is None else float(self.likelihood.supported(logit))
        x = ratio + math.log(prior / (1 - prior))
        return 1 / (1 + math.exp(-x)) if x >= 0 else math.exp(x) / (1 + math.exp(x))

    def logit_of(self, probability: float) -> float:
        """Raw logit from which the likelihood ratio at equal priors gives `probability`, in (0, 1); may be infinite."""
        log_odds = math.log(probability / (1 - probability))
        return log_odds if self.likelihood is None else self.likelihood.logit_of(log_odds)


def support_words(value: float, low: float, high: float) -> str:
    """The ENFSI words for a ratio and its interval; an interval that contains 1 supports neither side."""
    if low <= 1 <= high:
        return "no support either way"
    power = abs(math.log10(value))
    word = next((word for bound, word in LOG10_WORDS if power <= bound), "extremely strong")
    return f"{word} support for {'AI-generated' if value > 1 else 'real'}"
