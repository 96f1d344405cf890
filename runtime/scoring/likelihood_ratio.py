"""The likelihood ratio of a record: its fields, and the sentence that says what it is worth."""

from __future__ import annotations

import math

from pydantic.dataclasses import dataclass

from ..core.calibration import Calibration, support_words
from .run import CONFIG


@dataclass(frozen=True, config=CONFIG)
class LikelihoodRatio:
    """How many times as often AI-generated images have this score as real ones do, as measured."""

    value: float
    """The ratio, above 0; above 1 speaks for AI-generated."""
    low: float
    """Lower bound of its 95 % interval, from resampling the sources that were measured."""
    high: float
    """Upper bound."""
    real_share: float
    """Share of the measured real images that score at least this high, sources weighted alike."""
    ai_share: float
    """Share of the measured AI images that score at least this high, sources weighted alike."""
    support: str
    """The ratio in the words of the ENFSI guideline for evaluative reporting, as "weak support for AI-generated"."""
    text: str
    """Ratio, interval, words and shares as a sentence."""

    @classmethod
    def of(cls, calibration: Calibration, logit: float) -> LikelihoodRatio | None:
        """That of a finite raw logit; None where the engine was not measured."""
        if calibration.likelihood is None:
            return None
        value, low, high, real_share, ai_share = calibration.likelihood.at(logit)
        support = support_words(value, low, high)
        text = (
            f"likelihood ratio {interval(value, low, high)}: {support}; {percent(real_share)} of the real and "
            f"{percent(ai_share)} of the AI images measured score this high or higher"
        )
        return cls(value, low, high, real_share, ai_share, support, text)

    @property
    def interval(self) -> str:
        """The ratio with its interval, as "2.9 (1.6 to 6.4)"."""
        return interval(self.value, self.low, self.high)


def interval(value: float, low: float, high: float) -> str:
    """A ratio with its interval, as "2.9 (1.6 to 6.4)"."""
    return f"{two_digits(value)} ({two_digits(low)} to {two_digits(high)})"


def two_digits(value: float) -> str:
    """A number above 0 with two significant digits and without an exponent, as "0.0036" or "1,200"."""
    return f"{float(f'{value:.2g}'):,.12f}".rstrip("0").rstrip(".")


def percent(share: float) -> str:
    """A share in [0, 1], as "24 %", with one decimal below 10 and above 90 %; halves are rounded up."""
    decimals = 0 if 0.1 <= share <= 0.9 else 1
    return f"{math.floor(100 * share * 10**decimals + 0.5) / 10**decimals:.{decimals}f} %"
