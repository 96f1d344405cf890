"""How the measured images spread over the scores: what report and pages draw behind the images that they show."""

from __future__ import annotations

import math

import numpy as np
from pydantic.dataclasses import dataclass

from ..core.calibration import Calibration
from ..scoring.run import CONFIG

BINS = 32
TAIL = 0.02
"""Share of the measured images that may lie beyond an end of the axis."""
RATIOS = {
    "1": 1.0, "1/10": 0.1, "10": 10.0, "1/100": 0.01, "100": 100.0, "1/1,000": 1e-3, "1,000": 1e3, "1/2": 0.5,
    "2": 2.0, "1/4": 0.25, "4": 4.0,
}
"""Likelihood ratios that an axis may mark, the more important ones first."""
APART = 0.08
"""Smallest distance of two marks, as a share of the axis."""


@dataclass(frozen=True, config=CONFIG)
class Spread:
    """An axis of raw logits with both measured distributions, sources weighted alike."""

    low: float
    """Raw logit at the left end of the axis; scores beyond are drawn at the end."""
    high: float
    """Raw logit at the right end."""
    real: tuple[float, ...]
    """Density of the measured real images, at the centres of equal parts of the axis; the highest of both is 1.
    Smoothed over three parts; empty where the engine was not measured."""
    ai: tuple[float, ...]
    """The same of the measured AI images."""
    ratios: tuple[tuple[str, float], ...]
    """Likelihood ratios, as text, and the raw logits from which they are reached."""

    @classmethod
    def of(cls, calibration: Calibration) -> Spread:
        """That of an engine; its axis holds both thresholds."""
        cuts = [cut for cut in (calibration.real_below, calibration.ai_from) if cut is not None]
        likelihood = calibration.likelihood
        if likelihood is None:
            return cls(min(-4.0, *cuts), max(4.0, *cuts), (), (), ())
        shares = np.array([likelihood.real_share, likelihood.ai_share])
        ends = [[np.interp(at, share[::-1], likelihood.logits[::-1]) for share in shares] for at in (1 - TAIL, TAIL)]
        low, high = float(min(ends[0])), float(max(ends[1]))
        margin = 0.04 * (high - low)
        low, high = min([low, *(cut - margin for cut in cuts)]), max([high, *(cut + margin for cut in cuts)])
        edges = np.linspace(low, high, BINS + 1)
        density = np.array([-np.diff(np.interp(edges, likelihood.logits, share)) for share in shares])
        density = np.array([np.convolve(one, (0.25, 0.5, 0.25), "same") for one in density])
        density = np.round(density / (density.max() or 1.0), 4)
        marks: list[tuple[str, float]] = []
        for text, ratio in RATIOS.items():
            logit = likelihood.logit_of(math.log(ratio))
            if low < logit < high and all(abs(logit - other) > APART * (high - low) for _, other in marks):
                marks.append((text, logit))
        return cls(low, high, tuple(density[0].tolist()), tuple(density[1].tolist()), tuple(marks))
