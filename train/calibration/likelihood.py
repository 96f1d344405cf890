"""The likelihood ratio of a logit, fitted on images of many sources, with an interval from resampling the sources.

Logistic regression with four parameters: P(AI) at equal priors is g0 + (1 - g0 - g1) sigmoid(s x + o), and the ratio
its odds. Every source of a class weighs alike, both classes weigh alike (Brümmer and du Preez 2006, doi
10.1016/j.csl.2005.08.001). g0 and g1 are the shares of images that a score says nothing about (Copas 1988, Binary
regression models for contaminated data): without them a line claims most where the fewest images were measured. They
are at least 1 / (m + 2) for m sources of the class that would be missed: m sources cannot show that fewer are wrong, so
the ratio stays between 1 / (m + 1) of the AI sources and m + 1 of the real sources.

The 95 % interval comes from a two-stage bootstrap, which resamples sources, then images within each (Davison and
Hinkley 1997, section 3.8).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.special import expit

from ...runtime.core.calibration import Likelihood

CELLS = 64
"""The fit sees logits rounded to this many quantiles."""
CONFIDENCE = 0.95
RIDGE, STEPS = 1e-5, 100
"""A weak penalty, because separable images would send the slope to infinity; Fisher scoring, in steps of at most 1."""


def fit_likelihood(
    real: Sequence[np.ndarray], fake: Sequence[np.ndarray], resamples: int = 200, seed: int = 0
) -> Likelihood:
    """Fit the ratio, which is 1 everywhere where the logits rank real images above AI images.

    Args:
        real: float [n] logits of each source of real images.
        fake: the same of AI images.
        resamples: of the bootstrap.
        seed: of the bootstrap.
    """
    knots = _strictly_ascending(np.quantile(np.concatenate([*real, *fake]), np.linspace(0, 1, CELLS)))
    counts = [[np.bincount(_nearest(knots, one), minlength=len(knots)) for one in group] for group in (real, fake)]
    shares = [np.mean([one / one.sum() for one in group], axis=0) for group in counts]
    at_least = [np.cumsum(one[::-1])[::-1] for one in shares]
    least = np.array([1 / (len(fake) + 2), 1 / (len(real) + 2)])
    rng = np.random.default_rng(seed)
    again = [np.array([_resampled(rng, group) for _ in range(resamples)]) for group in counts]
    ratio, each = (_fit(knots, real_part, fake_part, least) for real_part, fake_part in (shares, again))
    if ratio[0] > ratio[-1]:
        ratio = np.zeros_like(ratio)  # of the ratios that do not descend, the likeliest is 1 everywhere
    low, high = np.quantile(each, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2], axis=0)
    low = np.minimum(np.minimum.accumulate(low[::-1])[::-1], ratio)  # on the safe side where a bound does not ascend
    high = np.maximum(np.maximum.accumulate(high), ratio)
    return Likelihood(
        logits=tuple(knots), ratio=tuple(ratio), low=tuple(low), high=tuple(high),
        **{name: tuple(np.clip(one, 0, 1)) for name, one in zip(("real_share", "ai_share"), at_least, strict=True)},
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


def _resampled(rng: np.random.Generator, counts: Sequence[np.ndarray]) -> np.ndarray:
    """Share of a class in each cell, in a resample of its sources and of their images."""
    picked = (counts[i] for i in rng.integers(len(counts), size=len(counts)))
    return np.mean([rng.multinomial(one.sum(), one / one.sum()) / one.sum() for one in picked], axis=0)


def _fit(cells: np.ndarray, real: np.ndarray, fake: np.ndarray, least: np.ndarray) -> np.ndarray:
    """Log10 of the ratio in each cell, [..., C], of shares of both classes in each cell, for many samples at once.

    Args:
        cells: float [C] logits.
        real: float [..., C].
        fake: float [..., C].
        least: smallest g0 and g1, float [2]; the largest is one half.
    """
    x = (cells - cells.mean()) / (cells.std() or 1.0)
    at = np.broadcast_to(np.array([1.0, 0.0, -2.0, -2.0]), (*real.shape[:-1], 4))
    for step in range(STEPS + 1):
        unit = expit(at[..., 2:])
        g = least + (0.5 - least) * unit
        g0, g1, q = g[..., :1], g[..., 1:], expit(at[..., :1] * x + at[..., 1:2])
        p = g0 + (1 - g0 - g1) * q
        if step == STEPS:
            break
        by_z = (1 - g0 - g1) * q * (1 - q)
        by_g = (g - least) * (1 - unit)  # of g by its parameter
        by = np.stack([by_z * x, by_z, by_g[..., :1] * (1 - q), -by_g[..., 1:] * q], axis=-2)
        gradient = np.einsum("...ic,...c->...i", by, fake / p - real / (1 - p)) - RIDGE * at
        information = np.einsum("...ic,...jc,...c->...ij", by, by, (real + fake) / (p * (1 - p)))
        move = np.linalg.solve(information + RIDGE * np.eye(4), gradient[..., None])[..., 0]
        at = at + np.clip(move, -1, 1)
    return np.log10(p / (1 - p))
