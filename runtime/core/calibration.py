"""Calibration of an engine: its probability, and the two thresholds that make both verdicts claims."""

from __future__ import annotations

import math
from typing import Literal

from pydantic import Field, model_validator

from .manifest_part import Model


class SourceRates(Model):
    """The verdicts that one source's images got from a head that had not seen the source.

    Attributes:
        source: name of the generator or collection.
        label: class of its images.
        images: how many.
        ai: share called ai, in [0, 1].
        real: share called real; the rest is uncertain.
    """

    source: str
    label: Literal["ai", "real"]
    images: int = Field(ge=1)
    ai: float = Field(ge=0, le=1)
    real: float = Field(ge=0, le=1)

    @property
    def uncertain(self) -> float:
        """Share called uncertain, in [0, 1]."""
        return max(0.0, 1 - self.ai - self.real)


class Calibration(Model):
    """Probability calibration and the two thresholds, in raw logits.

    probability = sigmoid(a * logit + b) at equal priors (Platt 1999). The verdict is `ai` from `ai_from` on
    (logit >= ai_from), `real` below `real_below` (logit < real_below), and `uncertain` between them. Where both are
    equal nothing is uncertain.

    Attributes:
        a: slope, above 0.
        b: offset.
        ai_from: None: no image is ever called ai, because too few real ones were there to promise `false_alarm`.
        real_below: None: no image is ever called real.
        false_alarm: largest share of real images that get `ai`, in (0, 1); None where nothing is promised.
        miss: largest share of AI images that get `real`; None where nothing is promised.
        n_real: real images behind `ai_from`.
        n_ai: AI images behind `real_below`.
        sources: the rates reached, source by source.
        fitted_on: the images behind all this, in words.
    """

    a: float = Field(1.0, gt=0)
    b: float = 0.0
    ai_from: float | None = 0.0
    real_below: float | None = 0.0
    false_alarm: float | None = Field(None, gt=0, lt=1)
    miss: float | None = Field(None, gt=0, lt=1)
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
        """P(AI) in [0, 1] of a raw logit, where `prior`, in (0, 1), is the share of AI images among those scored."""
        x = self.a * logit + self.b + math.log(prior / (1 - prior))
        return 1 / (1 + math.exp(-x)) if x >= 0 else math.exp(x) / (1 + math.exp(x))

    def logit_of(self, probability: float) -> float:
        """Raw logit at which P(AI) is `probability`, in (0, 1), at equal priors."""
        return (math.log(probability / (1 - probability)) - self.b) / self.a
