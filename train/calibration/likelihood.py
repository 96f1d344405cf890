"""The likelihood ratio of a logit, fitted on images of many sources, with an interval from resampling the sources.

The logarithm of the ratio is linear in the logit: logistic regression in which every source of a class weighs alike and
both classes weigh alike (Brümmer and du Preez 2006, doi 10.1016/j.csl.2005.08.001). Its 95 % interval comes from a
two-stage bootstrap, which resamples sources, then images within each (Davison and Hinkley 1997, section 3.8).

A ratio is held at its value of the outermost logits measured, and never exceeds the number of sources plus 1: m sources
of real images can show that fewer than 1 source in m + 1 is like this, and no more.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.special import expit

from ...runtime.core.errors import UsageError
from ...runtime.core.likelihood import Likelihood

KNOTS = 64
CELLS = 256
"""The fit sees logits rounded to this many quantiles, so that a resample does not grow with the images."""
CONFIDENCE = 0.95
RIDGE, STEPS = 1e-4, 40
"""A weak penalty, because separable images would send the slope to infinity; steps of Newton's method, of at most 1."""


def fit_likelihood(
    real: Sequence[np.ndarray], fake: Sequence[np.ndarray], resamples: int = 400, seed: int = 0
) -> Likelihood:
    """Fit the ratio.

    Args:
        real: float [n] logits of each source of real images.
        fake: the same of AI images.
        resamples: of the bootstrap.
        seed: of the bootstrap.

    Raises:
        UsageError: the logits rank real images above AI images.
    """
    cells = _strictly_ascending(np.quantile(np.concatenate([*real, *fake]), np.linspace(0, 1, CELLS)))
    counts = [[np.bincount(_nearest(cells, one), minlength=len(cells)) for one in group] for group in (real, fake)]
    slope, offset = map(float, _fit(cells, *map(_mean_shares, counts)))
    if slope <= 0:
        raise UsageError(
            "on the held-out images the head ranks real above AI; it has learnt nothing: check data and labels"
        )
    rng = np.random.default_rng(seed)
    again = [[_mean_shares(_resampled(rng, group)) for _ in range(resamples)] for group in counts]
    slopes, offsets = _fit(cells, *map(np.array, again))
    knots = _strictly_ascending(np.quantile(cells, np.linspace(0, 1, KNOTS)))
    bounds = -np.log10(len(fake) + 1), np.log10(len(real) + 1)
    ratio = np.clip((slope * knots + offset) / np.log(10), *bounds)
    each = np.clip((slopes[:, None] * knots + offsets[:, None]) / np.log(10), *bounds)
    low, high = np.quantile(each, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2], axis=0)
    low = np.minimum(np.minimum.accumulate(low[::-1])[::-1], ratio)  # on the safe side where a bound does not ascend
    high = np.maximum(np.maximum.accumulate(high), ratio)
    shares = ([float(np.mean([(one >= knot).mean() for one in group])) for knot in knots] for group in (real, fake))
    return Likelihood(
        logits=tuple(knots), ratio=tuple(ratio), low=tuple(low), high=tuple(high),
        **{name: tuple(column) for name, column in zip(("real_share", "ai_share"), shares, strict=True)},
    )


def supported_from(likelihood: Likelihood) -> float | None:
    """The smallest raw logit above which the interval of the ratio lies above 1; None where there is none."""
    return _crossing(np.asarray(likelihood.logits), np.asarray(likelihood.low))


def supported_below(likelihood: Likelihood) -> float | None:
    """The largest raw logit below which the interval of the ratio lies below 1; None where there is none."""
    found = _crossing(-np.asarray(likelihood.logits)[::-1], -np.asarray(likelihood.high)[::-1])
    return None if found is None else -found


def _crossing(knots: np.ndarray, values: np.ndarray) -> float | None:
    """Where ascending values, linear between knots, rise above 0; None where they do not."""
    above = np.flatnonzero(values > 0)
    if not len(above):
        return None
    around = slice(max(above[0] - 1, 0), above[0] + 1)
    return float(np.interp(0, values[around], knots[around]))


def log_likelihood_ratio_cost(log_ratio: np.ndarray, labels: np.ndarray, sources: np.ndarray) -> float:
    """Cllr, in bits: 0 for a perfect ratio, 1 for a ratio of 1 everywhere (Brümmer and du Preez 2006, equation 9).

    Args:
        log_ratio: float [n], natural logarithms.
        labels: int [n], 1 AI, 0 real.
        sources: str [n]; the sources of a class weigh alike.
    """
    cost = []
    for label in (0, 1):
        bits = np.logaddexp(0, log_ratio if label == 0 else -log_ratio) / np.log(2)
        own = labels == label
        cost.append(np.mean([bits[own & (sources == name)].mean() for name in np.unique(sources[own])]))
    return float(np.mean(cost))


def _strictly_ascending(values: np.ndarray) -> np.ndarray:
    """Different values in order, at least two: equal logits get a second knot above them."""
    found = np.unique(values.astype(np.float64))
    return found if len(found) > 1 else np.array([found[0], found[0] + 1.0])


def _nearest(cells: np.ndarray, logits: np.ndarray) -> np.ndarray:
    return np.searchsorted((cells[1:] + cells[:-1]) / 2, logits)


def _mean_shares(counts: Sequence[np.ndarray]) -> np.ndarray:
    """Share of a class in each cell, its sources weighted alike."""
    return np.mean([one / one.sum() for one in counts], axis=0)


def _resampled(rng: np.random.Generator, counts: Sequence[np.ndarray]) -> list[np.ndarray]:
    picked = (counts[i] for i in rng.integers(len(counts), size=len(counts)))
    return [rng.multinomial(one.sum(), one / one.sum()) for one in picked]


def _fit(cells: np.ndarray, real: np.ndarray, fake: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Slope and offset of the natural logarithm of the ratio, by Newton's method for many samples at once.

    Args:
        cells: float [C] logits.
        real: float [..., C], share of the real images in each cell.
        fake: the same of the AI images.

    Returns:
        two arrays [...].
    """
    centre, scale = cells.mean(), cells.std() or 1.0
    x = np.stack([(cells - centre) / scale, np.ones_like(cells)])
    found = np.zeros((*real.shape[:-1], 2))
    for _ in range(STEPS):
        p = expit(found @ x)
        gradient = (fake * (1 - p) - real * p) @ x.T - RIDGE * found
        curvature = np.einsum("...c,ic,jc->...ij", (real + fake) * p * (1 - p), x, x) + RIDGE * np.eye(2)
        found = found + np.clip(np.linalg.solve(curvature, gradient[..., None])[..., 0], -1, 1)
    slope = found[..., 0] / scale
    return slope, found[..., 1] - slope * centre
