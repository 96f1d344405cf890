"""Thresholds of both verdicts: split-conformal within each source, then one of the strictest of the sources.

The verdict `ai` is given from a logit that at most a share `false_alarm` of real images reaches, `real` below a logit
under which at most a share `miss` of AI images lies. The scores come from heads that did not see the image's source.
The rule for one class:

1. Each source (a generator, a collection of photographs) with enough images has its own split-conformal threshold: the
   mildest at which (k + 1) / (n + 1) stays within the rate, where k of its n images would be misjudged. For an image
   exchangeable with them this bounds the chance of a wrong verdict exactly (Vovk et al. 2005; Angelopoulos and Bates
   2021, arXiv 2107.07511). Sources too small for that, n + 1 < 1 / rate, are joined and count as one source; where even
   that one is too small, it sets nothing, and is named.
2. Of these m thresholds the k-th strictest is taken, k = max(1, floor(gamma (m + 1))). If sources are exchangeable, a
   new source asks for a stricter threshold with a chance of at most k / (m + 1): its rate may exceed the promise. That
   is at most gamma, or 1 / (m + 1) where m is too small for gamma.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from ..data.transforms import tier_of, untiered
from .rates import Rates
from .scores import Scores

SMALL_SOURCES = "small sources together"


def conformal_threshold(scores: np.ndarray, rate: float) -> float | None:
    """The smallest threshold t with (k + 1) / (n + 1) <= rate, where k of the n scores are >= t.

    Args:
        scores: float [n], higher is worse.
        rate: in (0, 1).

    Returns:
        A float32 value as float, or None where n + 1 < 1 / rate: no threshold can promise that much.
    """
    allowed = int(np.floor(rate * (len(scores) + 1) + 1e-9)) - 1
    if allowed < 0:
        return None
    if allowed >= len(scores):
        return float(np.float32(-np.inf))
    worst = np.sort(np.asarray(scores, dtype=np.float32))[::-1][allowed]
    return float(np.nextafter(worst, np.float32(np.inf)))


def source_thresholds(groups: Mapping[str, np.ndarray], rate: float) -> dict[str, float]:
    """The `conformal_threshold` of each source that is large enough; small sources count as a single source."""
    each = {name: conformal_threshold(scores, rate) for name, scores in large_enough(groups, rate).items()}
    return {name: threshold for name, threshold in each.items() if threshold is not None}


def strictest_tiers(each: Mapping[str, float]) -> dict[str, float]:
    """The largest value of the tiers of each source, by the source's name."""
    found: dict[str, float] = {}
    for name, value in each.items():
        source = untiered(name)
        found[source] = max(value, found.get(source, value))
    return found


def large_enough(groups: Mapping[str, np.ndarray], rate: float) -> dict[str, np.ndarray]:
    """The sources that can promise `rate` on their own, and the others as one group.

    Tiers of delivery stay apart: the same image in three tiers is no more evidence than in one.
    """
    large = {name: values for name, values in groups.items() if len(values) + 1 >= 1 / rate - 1e-9}
    small: dict[str, list[np.ndarray]] = {}
    for name, values in groups.items():
        if name not in large:
            small.setdefault(SMALL_SOURCES + tier_of(name), []).append(values)
    return large | {name: np.concatenate(parts) for name, parts in small.items()}


@dataclass(frozen=True)
class Rule:
    """What the rule finds for one class.

    Attributes:
        threshold: score from which the verdict against the class is given; None where no source is large enough.
        rate: the promise: largest share of a source's images that reach the threshold.
        gamma: largest share of new sources that may exceed the rate, in (0, 1].
        too_small: sources that set nothing.
    """

    threshold: float | None
    rate: float
    gamma: float
    too_small: tuple[str, ...] = ()


def strict_threshold(groups: Mapping[str, np.ndarray], rate: float, gamma: float) -> Rule:
    """The rule for one class.

    Args:
        groups: float [n] scores of each source, higher is worse.
        rate: largest share of a source's images that may reach the threshold, in (0, 1).
        gamma: share of new sources that may exceed the rate, in (0, 1).
    """
    each = strictest_tiers(source_thresholds(groups, rate))
    small = tuple(name for name, scores in groups.items() if len(scores) + 1 < 1 / rate - 1e-9)
    if not each:
        return Rule(None, rate, 1.0, small)
    k = max(1, int(gamma * (len(each) + 1) + 1e-9))
    threshold = sorted(each.values(), reverse=True)[k - 1]
    return Rule(threshold, rate, k / (len(each) + 1), () if SMALL_SOURCES in each else small)


def rules(scores: Scores, rates: Rates) -> tuple[Rule, Rule]:
    """The rules of both verdicts, with thresholds as raw logits: `ai` from the first on, `real` below the second.

    The thresholds cross where the classes come apart better than was asked for. Then the middle between them is the
    threshold of both verdicts: nothing is uncertain, and both rates are smaller than the rates asked for.
    """
    ai = strict_threshold(scores.by_source(0), rates.false_alarm, rates.gamma)
    flipped = strict_threshold({name: -z for name, z in scores.by_source(1).items()}, rates.miss, rates.gamma)
    # `real` wants logit < t: the value just above the last logit that may be called real
    lowest = flipped.threshold
    below = None if lowest is None else float(np.nextafter(np.float32(-lowest), np.float32(np.inf)))
    real = replace(flipped, threshold=below)
    if ai.threshold is None or below is None or below <= ai.threshold:
        return ai, real
    cut = float(np.float32((ai.threshold + below) / 2))
    return (
        replace(ai, threshold=cut, rate=_reached(scores.by_source(0), ai, lambda z: z >= cut)),
        replace(real, threshold=cut, rate=_reached(scores.by_source(1), real, lambda z: z < cut)),
    )


def _reached(groups: Mapping[str, np.ndarray], rule: Rule, wrong: Callable[[np.ndarray], np.ndarray]) -> float:
    """The rate that a cut reaches: (k + 1) / (n + 1) of the source that decides, at most the rate asked for."""
    shares = {name: (int(wrong(z).sum()) + 1) / (len(z) + 1) for name, z in large_enough(groups, rule.rate).items()}
    each = sorted(strictest_tiers(shares).values(), reverse=True)
    k = round(rule.gamma * (len(each) + 1))
    return min(rule.rate, each[max(k, 1) - 1])
