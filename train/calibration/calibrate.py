"""Calibration of a head: the likelihood ratio, and the two thresholds with the rates reached source by source."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np

from ...runtime.core.calibration import QUANTILES, Calibration, SourceRates
from ...runtime.core.errors import UsageError
from ...runtime.scoring.verdict import Decision
from ..data.transforms import tier_of, untiered
from .likelihood import fit_likelihood, supported_below, supported_from
from .rates import Rates
from .scores import OWN_HEAD, Scores
from .thresholds import Rule, rules


def calibrate(scores: Scores, fitted_on: str, rates: Rates, lowest_quality: int | None = None) -> Calibration:
    """Fit the likelihood ratio and both thresholds on scores of images that the head has not seen.

    The thresholds follow the rule of `thresholds`. Where they cross, the stored rates are those that their common cut
    reaches, which are smaller than those asked for. Then each threshold moves outwards until the interval of the
    likelihood ratio lies on its verdict's side of 1; where it never does, the verdict is withheld.

    Args:
        scores: logits, labels and sources.
        fitted_on: description of the images, for the manifest.
        rates: of wrong verdicts.
        lowest_quality: lowest JPEG quality among the images, where it is known.

    Raises:
        UsageError: a class is missing, or a logit is not finite.
    """
    if not np.isfinite(scores.logits).all():
        raise UsageError("the head gives scores that are not finite; fit it again, with a smaller --lr")
    once = scores.take(scores.sources != OWN_HEAD)  # images of the deployed head are among the others already
    as_found = once.labels[[not tier_of(name) for name in once.sources.tolist()]]  # an image in three tiers is one
    n_real, n_ai = (int((as_found == label).sum()) for label in (0, 1))
    if not n_real or not n_ai:
        raise UsageError(f"calibration needs held-out images of both classes, got {n_real} real and {n_ai} AI images")
    likelihood = fit_likelihood(_whole_sources(once.by_source(0)), _whole_sources(once.by_source(1)))
    ai, real = rules(scores, rates)
    above, below = supported_from(likelihood), supported_below(likelihood)
    ai_from = None if ai.threshold is None or above is None else max(ai.threshold, above)
    real_below = None if real.threshold is None or below is None else min(real.threshold, below)
    withheld: list[Literal["ai", "real"]] = ["ai"] if ai_from is None and ai.threshold is not None else []
    withheld += ["real"] if real_below is None and real.threshold is not None else []
    calibration = Calibration(
        likelihood=likelihood, ai_from=ai_from, real_below=real_below, withheld=tuple(withheld),
        false_alarm=ai.rate, miss=real.rate, false_alarm_gamma=ai.gamma, miss_gamma=real.gamma,
        lowest_quality=lowest_quality, n_real=n_real, n_ai=n_ai, fitted_on=fitted_on,
    )
    return calibration.model_copy(update={"sources": _source_rates(scores, Decision.of(calibration), (ai, real))})


def _whole_sources(groups: Mapping[str, np.ndarray]) -> list[np.ndarray]:
    """The logits of each source, those of its tiers of delivery together."""
    found: dict[str, list[np.ndarray]] = {}
    for name, logits in groups.items():
        found.setdefault(untiered(name), []).append(logits)
    return [np.concatenate(parts) for parts in found.values()]


def _source_rates(scores: Scores, decision: Decision, found: tuple[Rule, Rule]) -> tuple[SourceRates, ...]:
    """The share of each verdict in every source, real sources first, in name order."""
    rates = []
    for label, name, rule in ((0, "real", found[0]), (1, "ai", found[1])):
        for source, logits in scores.by_source(label).items():
            verdicts = [decision.verdict(float(z)) for z in logits]
            ai, real = (verdicts.count(verdict) / len(verdicts) for verdict in ("ai", "real"))
            quantiles = tuple(float(z) for z in np.quantile(logits, QUANTILES))
            rates.append(SourceRates(
                source=source, label=name, images=len(verdicts), ai=ai, real=real, quantiles=quantiles,
                counted=source not in rule.too_small,
            ))
    return tuple(rates)
