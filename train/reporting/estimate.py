"""A figure with its 95 % interval, and sums of such figures (MOVER: Zou and Donner 2008, doi 10.1002/sim.3095)."""

from __future__ import annotations

import math
from collections.abc import Sequence


class Estimate(float):
    """A figure, which is a float, with the bounds of its 95 % interval; both are NaN where there is no interval."""

    low: float
    high: float

    def __new__(cls, value: float, low: float = math.nan, high: float = math.nan) -> Estimate:
        """The figure `value` from `low` to `high`."""
        made = super().__new__(cls, value)
        made.low, made.high = low, high
        return made

    def scaled(self, factor: float) -> Estimate:
        """The figure and its bounds times a positive factor."""
        return Estimate(factor * self, factor * self.low, factor * self.high)

    def widened(self, spread: float, bounds: tuple[float, float]) -> Estimate:
        """With another, independent error of half width `spread`; the interval stays within `bounds`."""
        if math.isnan(self.low):
            return self
        low, high = self - math.hypot(self - self.low, spread), self + math.hypot(self.high - self, spread)
        return Estimate(self, max(bounds[0], low), min(bounds[1], high))


def mean_of(parts: Sequence[Estimate]) -> Estimate:
    """The mean of independent figures."""
    mean = sum(parts) / len(parts)
    below, above = (math.hypot(*errors) / len(parts) for errors in (
        (part - part.low for part in parts), (part.high - part for part in parts)))
    return Estimate(mean, mean - below, mean + above)


def difference(one: Estimate, other: Estimate) -> Estimate:
    """`one` less `other`, as if they were independent: figures of the same images are closer than this tells."""
    value = float(one) - float(other)
    below, above = math.hypot(one - one.low, other.high - other), math.hypot(one.high - one, other - other.low)
    return Estimate(value, value - below, value + above)
