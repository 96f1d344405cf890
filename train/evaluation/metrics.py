"""Figures of a binary detector from labels and raw logits; scikit-learn and scipy do the statistics."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import expit
from scipy.stats import bootstrap, rankdata
from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve

from ...runtime.core.calibration import Calibration
from ..calibration.scores import Scores

MACC = (
    "mAcc is the plain mean over generators of plain accuracy, the share of all images of a generator that are right "
    "where sigmoid(logit) = 0.5 is the threshold"
)
"""The one definition of mAcc, as notes of tables give it. A class-balanced accuracy is called balanced accuracy."""
ECE_BINS = 15
CONFIDENCE = 0.95
BOOTSTRAP_BYTES = 2**26
"""Resamples are drawn in batches of about this size, so that memory does not grow with the data."""


@dataclass(frozen=True)
class Interval:
    """A bootstrap percentile confidence interval.

    Attributes:
        low: lower bound, NaN where the interval is not defined.
        high: upper bound.
    """

    low: float
    high: float


@dataclass(frozen=True)
class Metrics:
    """Figures of one set of labelled images; NaN where a class or a calibration that a figure needs is absent.

    Attributes:
        n_ai: number of AI-generated images.
        n_real: number of real images.
        accuracy: share of all images on the right side of the stored threshold.
        real_accuracy: the same share of the real images alone.
        fake_accuracy: the same share of the AI images alone.
        accuracy_05: as `accuracy`, with the threshold where sigmoid(logit) = 0.5, the paper's rule.
        real_accuracy_05: as `real_accuracy`, at that threshold.
        fake_accuracy_05: as `fake_accuracy`, at that threshold.
        auc: area under the ROC curve, AI positive.
        ap: average precision, AI positive.
        tpr_at_fpr_1: share of AI images found while at most 1 % of the real images are flagged.
        tpr_at_fpr_5: the same at 5 %.
        ap_balanced: `ap` with both classes weighted alike, so that it does not follow their ratio.
        ece: expected calibration error of the calibrated probability.
        ece_balanced: `ece` with both classes weighted alike, as the calibration assumes.
        ci: 95 % intervals by the name of the figure; empty without resamples.
    """

    n_ai: int
    n_real: int
    accuracy: float
    real_accuracy: float
    fake_accuracy: float
    accuracy_05: float
    real_accuracy_05: float
    fake_accuracy_05: float
    auc: float
    ap: float
    ap_balanced: float
    tpr_at_fpr_1: float
    tpr_at_fpr_5: float
    ece: float
    ece_balanced: float
    ci: dict[str, Interval]

    @property
    def balanced_accuracy_05(self) -> float:
        """Mean of `real_accuracy_05` and `fake_accuracy_05`."""
        return (self.real_accuracy_05 + self.fake_accuracy_05) / 2


FIGURES = {
    "accuracy": "acc", "real_accuracy": "real", "fake_accuracy": "fake", "accuracy_05": "acc@0.5",
    "real_accuracy_05": "real@0.5", "fake_accuracy_05": "fake@0.5", "auc": "AUC", "ap": "AP",
    "ap_balanced": "AP balanced", "tpr_at_fpr_1": "TPR@1%", "tpr_at_fpr_5": "TPR@5%", "ece": "ECE",
    "ece_balanced": "ECE balanced",
}
"""The figures of `Metrics` with the heads of their columns."""


def probabilities(logits: np.ndarray, calibration: Calibration) -> np.ndarray:
    """Calibrated P(AI) of raw logits: float [n] -> float64 [n] in [0, 1]."""
    likelihood = calibration.likelihood
    return expit(logits.astype(np.float64) if likelihood is None else likelihood.supported(logits))


def class_weights(labels: np.ndarray) -> np.ndarray:
    """Weights that give both classes the same total: int [n] labels (1 AI) -> float64 [n]."""
    counts = np.bincount(labels, minlength=2)
    return len(labels) / 2 / counts[labels]


def bins_of(probability: np.ndarray, bins: int = ECE_BINS) -> np.ndarray:
    """Bin of each probability, of `bins` of equal width: float [n] in [0, 1] -> int64 [n]."""
    return np.minimum((probability * bins).astype(np.int64), bins - 1)


def calibration_error(
    labels: np.ndarray, probability: np.ndarray, weights: np.ndarray | None = None, bins: int = ECE_BINS
) -> float:
    """Mean difference between the observed share of AI and the probability, over bins of equal width.

    Args:
        labels: int [n], 1 AI-generated, 0 real.
        probability: float [n] in [0, 1].
        weights: float [n], weight of each image; None weighs all alike.
        bins: number of bins; each counts with the weight of its images.

    Returns:
        The error, in [0, 1].
    """
    weights = np.ones(len(labels)) if weights is None else weights
    which = bins_of(probability, bins)
    observed = np.bincount(which, weights * labels, bins)
    predicted = np.bincount(which, weights * probability, bins)
    return float(np.abs(observed - predicted).sum() / weights.sum())


def tpr_at_fpr(labels: np.ndarray, logits: np.ndarray, fpr: float) -> float:
    """Largest share of AI images found while at most `fpr` of the real images are flagged."""
    false_positive, true_positive, _ = roc_curve(labels, logits, drop_intermediate=False)
    return float(true_positive[false_positive <= fpr].max())


def _auc(real: np.ndarray, fake: np.ndarray, axis: int = -1) -> np.ndarray:
    """Mann-Whitney AUC along `axis`, for many resamples at once."""
    ranks = rankdata(np.concatenate([real, fake], axis=axis), axis=axis)
    n_real, n_fake = real.shape[axis], fake.shape[axis]
    of_fake = np.take(ranks, np.arange(n_real, n_real + n_fake), axis=axis).sum(axis=axis)
    return (of_fake - n_fake * (n_fake + 1) / 2) / (n_real * n_fake)


def _intervals(real: np.ndarray, fake: np.ndarray, threshold: float, resamples: int, seed: int) -> dict[str, Interval]:
    """Percentile intervals by resampling each class on its own, so that their proportion stays."""
    n = len(real) + len(fake)
    options = {"n_resamples": resamples, "method": "percentile", "confidence_level": CONFIDENCE, "vectorized": True,
               "batch": max(1, BOOTSTRAP_BYTES // (8 * n))}

    def accuracy_at(bound: float) -> object:
        return lambda r, f, axis=-1: ((r < bound).sum(axis=axis) + (f >= bound).sum(axis=axis)) / n

    statistics = {"auc": _auc, "accuracy": accuracy_at(threshold), "accuracy_05": accuracy_at(0.0)}
    intervals = {}
    for name, statistic in statistics.items():
        rng = np.random.default_rng(seed)
        interval = bootstrap((real, fake), statistic, random_state=rng, **options).confidence_interval
        intervals[name] = Interval(float(interval.low), float(interval.high))
    return intervals


def mean_over(values: list[float]) -> float:
    """Mean of the finite values; NaN where there is none."""
    finite = [value for value in values if math.isfinite(value)]
    return float(np.mean(finite)) if finite else math.nan


def binary_metrics(
    labels: np.ndarray, logits: np.ndarray, calibration: Calibration | None = None, resamples: int = 1000, seed: int = 0
) -> Metrics:
    """Compute all figures of one set of images.

    Args:
        labels: int [n], 1 AI-generated, 0 real.
        logits: float [n], raw.
        calibration: gives the threshold of the verdict ai and the calibrated probability; None leaves out their
            figures.
        resamples: bootstrap resamples for the intervals; 0 leaves them out.
        seed: seed of the bootstrap.
    """
    labels, logits = np.asarray(labels).astype(np.int64), np.asarray(logits, dtype=np.float64)
    real, fake = logits[labels == 0], logits[labels == 1]
    both = len(real) > 0 and len(fake) > 0

    def accuracies(bound: float) -> tuple[float, float, float]:
        right_real, right_fake = real < bound, fake >= bound
        parts = np.concatenate([right_real, right_fake]), right_real, right_fake
        whole, of_real, of_fake = (float(part.mean()) if len(part) else math.nan for part in parts)
        return whole, of_real, of_fake

    def ranked(figure: Callable[..., float], *options: Any, **weighted: Any) -> float:
        return float(figure(labels, logits, *options, **weighted)) if both else math.nan

    alarm, ece, ece_balanced = math.nan, math.nan, math.nan
    weights = class_weights(labels) if both else None
    if calibration and len(labels):
        alarm = math.inf if calibration.ai_from is None else calibration.ai_from
        probability = probabilities(logits, calibration)
        ece = calibration_error(labels, probability)
        ece_balanced = calibration_error(labels, probability, weights) if both else math.nan
    stored = accuracies(alarm) if calibration else (math.nan, math.nan, math.nan)
    return Metrics(
        len(fake), len(real), *stored, *accuracies(0.0), auc=ranked(roc_auc_score), ap=ranked(average_precision_score),
        ap_balanced=ranked(average_precision_score, sample_weight=weights), tpr_at_fpr_1=ranked(tpr_at_fpr, 0.01),
        tpr_at_fpr_5=ranked(tpr_at_fpr, 0.05), ece=ece, ece_balanced=ece_balanced,
        ci=_intervals(real, fake, alarm, resamples, seed) if both and resamples else {},
    )


def metrics_by_source(scores: Scores, calibration: Calibration | None = None) -> dict[str, Metrics]:
    """The figures of each source in name order, without intervals."""
    parts = {str(name): scores.of(name) for name in np.unique(scores.sources)}
    return {name: binary_metrics(own.labels, own.logits, calibration, resamples=0) for name, own in parts.items()}
