"""The likelihood ratio of a record: its fields, and the sentence that says what it is worth."""

from __future__ import annotations

from pydantic.dataclasses import dataclass

from ..core.calibration import Calibration
from ..core.likelihood import support_words
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

    @classmethod
    def of(cls, calibration: Calibration, logit: float) -> LikelihoodRatio | None:
        """That of a finite raw logit; None where the engine was not measured."""
        return None if calibration.likelihood is None else cls(*calibration.likelihood.at(logit))

    @property
    def support(self) -> str:
        """The ratio in the words of the ENFSI guideline, as "weak support for AI-generated"."""
        return support_words(self.value, self.low, self.high)

    @property
    def sentence(self) -> str:
        """Ratio, interval, words and shares in one sentence."""
        return (
            f"likelihood ratio {self.value:.2g} ({self.low:.2g} to {self.high:.2g}): {self.support}; "
            f"{_percent(self.real_share)} of the real and {_percent(self.ai_share)} of the AI images measured score "
            "this high or higher"
        )


def _percent(share: float) -> str:
    return f"{100 * share:.{0 if 0.1 <= share <= 0.9 else 1}f} %"
