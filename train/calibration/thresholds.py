"""Thresholds of both verdicts: split-conformal within each source, then the strictest of the sources.

The verdict `ai` is given from a logit that at most a share `false_alarm` of real images reaches, `real` below a logit
under which at most a share `miss` of AI images lies. The scores come from heads that did not see the image's source.
The rule for one class:

1. Each source (a generator, a collection of photographs) with enough images has its own split-conformal threshold: the
   mildest at which (k + 1) / (n + 1) stays within the rate, where k of its n images would be misjudged. For an image
   exchangeable with them this bounds the chance of a wrong verdict exactly (Vovk et al. 2005; Angelopoulos and Bates
   2021, arXiv 2107.07511). Sources too small for that, n + 1 < 1 / rate, form one group together.
2. The strictest of these thresholds is taken. So the rate holds in every source measured, not only in their pool, where
   a large easy source would pay for a hard one. If sources are exchangeable, the next source asks for a stricter
   threshold with a chance of at most 1 / (number of sources + 1).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

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


def strictest_threshold(groups: Mapping[str, np.ndarray], rate: float) -> float | None:
    """The largest of the `source_thresholds`; None where no group holds enough images."""
    return max(source_thresholds(groups, rate).values(), default=None)


def large_enough(groups: Mapping[str, np.ndarray], rate: float) -> dict[str, np.ndarray]:
    """The sources that can promise `rate` on their own, and the others as one group."""
    large = {name: values for name, values in groups.items() if len(values) + 1 >= 1 / rate}
    small = [values for name, values in groups.items() if name not in large]
    return {**large, SMALL_SOURCES: np.concatenate(small)} if small else large


def reached(wrong: Mapping[str, np.ndarray], rate: float) -> float:
    """The largest (k + 1) / (n + 1) over the groups, where k of a group's n verdicts are wrong: bool [n] each."""
    return max((int(w.sum()) + 1) / (len(w) + 1) for w in large_enough(wrong, rate).values())


def two_sided(scores: Scores, rates: Rates) -> tuple[float | None, float | None]:
    """Both thresholds by the rule of this module, as raw logits: `ai` from the first on, `real` below the second.

    The thresholds cross where the classes come apart better than was asked for. Then the middle between them is the
    threshold of both verdicts: nothing is uncertain, and both rates are smaller than the rates asked for. A threshold
    is None where its verdict is never given.
    """
    ai_from = strictest_threshold(scores.by_source(0), rates.false_alarm)
    lowest = strictest_threshold({name: -logits for name, logits in scores.by_source(1).items()}, rates.miss)
    # `real` wants logit < t: the value just above the last logit that may be called real
    real_below = None if lowest is None else float(np.nextafter(np.float32(-lowest), np.float32(np.inf)))
    if ai_from is not None and real_below is not None and real_below > ai_from:
        ai_from = real_below = float(np.float32((ai_from + real_below) / 2))
    return ai_from, real_below
