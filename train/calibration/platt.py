"""Calibration of a head: Platt's probability, and the two thresholds with the rates reached source by source."""

from __future__ import annotations

import numpy as np
from sklearn.linear_model import LogisticRegression

from ...runtime.core.calibration import Calibration, SourceRates
from ...runtime.core.errors import UsageError
from ...runtime.scoring.verdict import Decision
from .rates import Rates
from .scores import OWN_HEAD, Scores
from .thresholds import reached, two_sided

PLATT_C = 100.0
"""Weak regularisation: separable held-out data would otherwise send the slope to infinity."""


def calibrate_probability(scores: Scores, fitted_on: str, rates: Rates) -> Calibration:
    """Fit the probability and both thresholds on scores of images that the head has not seen.

    probability = sigmoid(a * logit + b), fitted with both classes weighted alike, so it refers to equal priors. The
    thresholds follow the rule of `thresholds`. Where they cross, the stored rates are those that their common cut
    reaches, which are smaller than those asked for.

    Args:
        scores: logits, labels and sources.
        fitted_on: description of the images, for the manifest.
        rates: of wrong verdicts.

    Raises:
        UsageError: a class is missing, a logit is not finite, or the logits rank real above AI (a <= 0).
    """
    if not np.isfinite(scores.logits).all():
        raise UsageError("the head gives scores that are not finite; fit it again, with a smaller --lr")
    once = scores.take(scores.sources != OWN_HEAD)  # images of the deployed head are among the others already
    labels, logits = once.labels, once.logits.astype(np.float64)
    n_real = int((labels == 0).sum())
    if not 0 < n_real < len(labels):
        raise UsageError(f"calibration needs held-out images of both classes, got {n_real} real of {len(labels)}")
    platt = LogisticRegression(C=PLATT_C, class_weight="balanced").fit(logits[:, None], labels)
    a, b = float(platt.coef_[0, 0]), float(platt.intercept_[0])
    if a <= 0:
        raise UsageError(
            "on the held-out images the head ranks real above AI; it has learnt nothing: check data and labels"
        )
    (ai_from, real_below), false_alarm, miss = two_sided(scores, rates), rates.false_alarm, rates.miss
    if ai_from is not None and ai_from == real_below:
        false_alarm = min(false_alarm, reached({k: v >= ai_from for k, v in scores.by_source(0).items()}, false_alarm))
        miss = min(miss, reached({k: v < ai_from for k, v in scores.by_source(1).items()}, miss))
    calibration = Calibration(
        a=a, b=b, ai_from=ai_from, real_below=real_below, false_alarm=false_alarm, miss=miss, n_real=n_real,
        n_ai=len(labels) - n_real, fitted_on=fitted_on,
    )
    return calibration.model_copy(update={"sources": source_rates(scores, Decision.of(calibration))})


def source_rates(scores: Scores, decision: Decision) -> tuple[SourceRates, ...]:
    """The share of each verdict in every source, real sources first, in name order."""
    rates = []
    for label, name in ((0, "real"), (1, "ai")):
        for source, logits in scores.by_source(label).items():
            verdicts = [decision.verdict(float(z)) for z in logits]
            ai, real = (verdicts.count(verdict) / len(verdicts) for verdict in ("ai", "real"))
            rates.append(SourceRates(source=source, label=name, images=len(verdicts), ai=ai, real=real))
    return tuple(rates)
