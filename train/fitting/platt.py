"""Probability calibration (Platt), decision threshold at a target false-positive rate, uncertain band around it."""

from __future__ import annotations

import numpy as np
from sklearn.linear_model import LogisticRegression

from ...runtime.errors import UsageError
from ...runtime.manifest import Calibration

PLATT_C = 100.0
"""Weak regularisation: separable held-out data would otherwise send the slope to infinity."""


def calibrate_probability(
    labels: np.ndarray, logits: np.ndarray, fitted_on: str, target_fpr: float = 0.05, uncertain_share: float = 0.1
) -> Calibration:
    """Fit the probability calibration and the decision on held-out data of the training generator.

    probability = sigmoid(a * logit + b), fitted with both classes weighted alike, so it refers to equal priors. The
    threshold is the smallest held-out logit that flags at most `target_fpr` of the real images. The band is symmetric
    around it and holds the `uncertain_share` of the held-out images nearest to it.

    Args:
        labels: int [n], 1 AI, 0 real.
        logits: raw, float [n].
        fitted_on: description of the images, for the manifest.
        target_fpr: share of real images above the threshold, in (0, 1).
        uncertain_share: share of images inside the band, in [0, 1).

    Raises:
        UsageError: a class is missing, or the logits rank real above AI (a <= 0).
    """
    labels, logits = np.asarray(labels), np.asarray(logits, dtype=np.float64)
    if not (0 < target_fpr < 1 and 0 <= uncertain_share < 1):
        raise UsageError("the target false-positive rate must lie in (0, 1), the uncertain share in [0, 1)")
    real = logits[labels == 0]
    if not 0 < len(real) < len(labels):
        raise UsageError(f"calibration needs held-out images of both classes, got {len(real)} real of {len(labels)}")
    platt = LogisticRegression(C=PLATT_C, class_weight="balanced").fit(logits[:, None], labels)
    a, b = float(platt.coef_[0, 0]), float(platt.intercept_[0])
    if a <= 0:
        raise UsageError(
            "on the held-out images the head ranks real above AI; it has learnt nothing: check data and labels"
        )
    threshold = float(np.quantile(real, 1 - target_fpr, method="higher"))
    margin = float(np.quantile(np.abs(logits - threshold), uncertain_share))
    return Calibration(
        a=a, b=b, threshold=threshold, uncertain_low=threshold - margin, uncertain_high=threshold + margin,
        target_fpr=target_fpr, fitted_on=fitted_on,
    )  # fmt: skip
