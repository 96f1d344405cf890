"""Calibration of an engine: its likelihood ratio, and the two thresholds that make both verdicts claims."""

from __future__ import annotations

import math
from typing import Literal

from pydantic import Field, model_validator

from .likelihood import Likelihood
from .manifest_part import Model

QUANTILES = (0.0, 0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 1.0)
"""Levels of the quantiles that are kept of each source's logits."""


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
