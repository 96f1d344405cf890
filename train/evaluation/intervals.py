"""95 % confidence intervals of shares, of AUCs and of means over sources."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import expit, logit
from scipy.stats import beta, norm, rankdata, t

CONFIDENCE = 0.95
TAIL = (1 - CONFIDENCE) / 2
RESAMPLES = 2000


@dataclass(frozen=True)
class Interval:
    """A 95 % confidence interval; both bounds are NaN where it is not defined.

    Attributes:
        low: lower bound.
        high: upper bound.
    """

    low: float
    high: float


UNDEFINED = Interval(math.nan, math.nan)


def share_interval(hits: float, count: int) -> Interval:
    """The exact interval of a share, `hits` of `count` (Clopper and Pearson 1934); undefined where `count` is 0."""
    if not count:
        return UNDEFINED
    low = beta.ppf(TAIL, hits, count - hits + 1) if hits > 0 else 0.0
    high = beta.ppf(1 - TAIL, hits + 1, count - hits) if hits < count else 1.0
    return Interval(float(low), float(high))


def auc_and_variance(real: np.ndarray, fake: np.ndarray) -> tuple[float, float]:
    """The AUC of logits with DeLong's variance, in O(n log n).

    DeLong, DeLong and Clarke-Pearson 1988, doi 10.2307/2531595; by midranks: Sun and Xu 2014, doi
    10.1109/LSP.2014.2337313.

    Args:
        real: float [m].
        fake: float [n].

    Returns:
        AUC in [0, 1], NaN where a class is missing, and its variance, NaN where a class has fewer than two images.
    """
    m, n = len(real), len(fake)
    if not m or not n:
        return math.nan, math.nan
    ranks = rankdata(np.concatenate([real, fake]))
    of_real = 1 - (ranks[:m] - rankdata(real)) / n  # share of AI images above each real image, ties half
    of_fake = (ranks[m:] - rankdata(fake)) / m  # share of real images below each AI image
    variance = np.var(of_real, ddof=1) / m + np.var(of_fake, ddof=1) / n if min(m, n) > 1 else math.nan
    return float(of_fake.mean()), float(variance)


def auc_interval(real: np.ndarray, fake: np.ndarray) -> Interval:
    """The interval of an AUC: normal on the scale of its log odds, with DeLong's variance.

    Where that variance is 0, as at an AUC of 1, the interval is the exact one of the min(m, n) pairs, each image in
    at most one, that are independent. It is undefined where a class has fewer than two images.

    Args:
        real: float [m] logits.
        fake: float [n].
    """
    auc, variance = auc_and_variance(real, fake)
    if math.isnan(variance):
        return UNDEFINED
    pairs = min(len(real), len(fake))
    if variance == 0:
        return share_interval(auc * pairs, pairs)
    half = norm.ppf(1 - TAIL) * math.sqrt(variance) / (auc * (1 - auc))
    return Interval(float(expit(logit(auc) - half)), float(expit(logit(auc) + half)))


def mean_interval(
    values: Sequence[float], resamples: int = RESAMPLES, seed: int = 0, bounds: tuple[float, float] = (0.0, 1.0)
) -> Interval:
    """The interval of the mean of a figure over sources, for new sources of the kind, by resampling the sources.

    The percentiles are stretched about the mean by Student's t over the normal quantile and by sqrt(m / (m - 1)),
    without which few sources give too narrow an interval (Hesterberg 2015, doi 10.1080/00031305.2015.1089789).

    Args:
        values: of the figure, one for each of the m sources; those that are not finite are left out.
        resamples: how many.
        seed: of the resamples.
        bounds: of the figure.

    Returns:
        The interval within `bounds`; undefined where fewer than two sources, or no differences between them, tell
        nothing of others.
    """
    each = np.array([value for value in values if math.isfinite(value)])
    m = len(each)
    if m < 2 or not resamples or np.ptp(each) == 0:
        return UNDEFINED
    again = each[np.random.default_rng(seed).integers(m, size=(resamples, m))].mean(axis=1)
    stretch = t.ppf(1 - TAIL, m - 1) / norm.ppf(1 - TAIL) * math.sqrt(m / (m - 1))
    ends = each.mean() + stretch * (np.quantile(again, [TAIL, 1 - TAIL]) - each.mean())
    return Interval(*(float(end) for end in np.clip(ends, *bounds)))
