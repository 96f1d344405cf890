"""Figures of a binary detector from labels and raw logits; scikit-learn and scipy do the statistics."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import expit
from sklearn.isotonic import IsotonicRegression
from sklearn.metrics import average_precision_score, roc_curve

from ...runtime.core.calibration import Calibration
from ..calibration.likelihood import log_likelihood_ratio_cost
from ..calibration.scores import Scores
from .intervals import Interval, auc_and_variance, auc_interval, share_interval

MACC = (
    "mAcc is the plain mean over generators with images of both classes of plain accuracy, the share of all images of "
    "a generator that are right where sigmoid(logit) = 0.5 is the threshold"
)
"""The one definition of mAcc, as notes of tables give it. A class-balanced accuracy is called balanced accuracy."""
ECE_BINS = 15
ECE_IMAGES = 1000
"""Fewer images have no calibration error: their noise would be most of it."""


@dataclass(frozen=True)
class Metrics:
    """Figures of one set of labelled images; NaN where a class, a threshold or a calibration is absent.

    Attributes:
        n_ai: number of AI-generated images.
        n_real: number of real images.
        coverage: share of all images that are decided: the verdict is `ai` or `real`.
        accuracy: share of the decided images whose verdict is right.
        real_accuracy: the same share of the decided real images; NaN where the verdict `real` is never given.
        fake_accuracy: the same share of the decided AI images; NaN where the verdict `ai` is never given.
        accuracy_05: share of all images that are right where sigmoid(logit) = 0.5 is the threshold, the paper's rule.
        real_accuracy_05: the same share of the real images.
        fake_accuracy_05: the same share of the AI images.
        auc: area under the ROC curve, AI positive, against the real images of this set, which a source brings
            along: of the same content if the data are made so.
        auc_all_real: the same against all real images of the evaluation, which differ in content too.
        ap: average precision, AI positive.
        ap_balanced: `ap` with both classes weighted alike, so that it does not follow their ratio.
        tpr_at_fpr_1: share of AI images found while at most 1 % of the real images are flagged.
        tpr_at_fpr_5: the same at 5 %.
        cllr: cost of the likelihood ratio, in bits: 0 is perfect, 1 is that of a ratio of 1 for every image.
        cllr_min: the least cost that any ascending map of the ratio reaches on these images: what calibration cannot
            mend.
        ece: expected calibration error of the calibrated probability, classes weighted alike; NaN below `ECE_IMAGES`.
        ece_noise: the error that so many images would show by chance if every probability were right.
        ci: 95 % intervals by the name of the figure.
    """

    n_ai: int
    n_real: int
    coverage: float
    accuracy: float
    real_accuracy: float
    fake_accuracy: float
    accuracy_05: float
    real_accuracy_05: float
    fake_accuracy_05: float
    auc: float
    auc_all_real: float
    ap: float
    ap_balanced: float
    tpr_at_fpr_1: float
    tpr_at_fpr_5: float
    cllr: float
    cllr_min: float
    ece: float
    ece_noise: float
    ci: dict[str, Interval]

    @property
    def both(self) -> bool:
        """Whether there are images of both classes: only such sets are averaged."""
        return self.n_ai > 0 and self.n_real > 0


FIGURES = {
    "auc": "AUC own real", "auc_all_real": "AUC all real", "coverage": "decided", "accuracy": "acc",
    "real_accuracy": "real", "fake_accuracy": "fake", "accuracy_05": "acc@0.5", "real_accuracy_05": "real@0.5",
    "fake_accuracy_05": "fake@0.5", "ap": "AP", "ap_balanced": "AP balanced", "tpr_at_fpr_1": "TPR@1%",
    "tpr_at_fpr_5": "TPR@5%", "cllr": "Cllr", "cllr_min": "Cllr min", "ece": "ECE", "ece_noise": "ECE noise",
}
"""The figures of `Metrics` with the heads of their columns."""


def log_ratios(logits: np.ndarray, calibration: Calibration) -> np.ndarray:
    """Natural logarithm of the likelihood ratio of raw logits: float [n] -> float64 [n]."""
    likelihood = calibration.likelihood
    if likelihood is None:
        return logits.astype(np.float64)
    return np.interp(logits, likelihood.logits, likelihood.ratio) * math.log(10)


def least_cost(log_ratio: np.ndarray, labels: np.ndarray) -> float:
    """The smallest `log_likelihood_ratio_cost` of any ascending map of the ratios, in bits (Brümmer and du Preez 2006).

    The map is found by pooling adjacent violators.

    Args:
        log_ratio: float [n].
        labels: int [n], 1 AI, 0 real; both occur.
    """
    weights = class_weights(labels)
    posterior = IsotonicRegression().fit_transform(log_ratio, labels, sample_weight=weights)
    return float(np.average(-np.log2(np.where(labels == 1, posterior, 1 - posterior)), weights=weights))


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
) -> tuple[float, float]:
    """Mean difference between the observed share of AI and the probability, over bins of equal width.

    Args:
        labels: int [n], 1 AI-generated, 0 real.
        probability: float [n] in [0, 1].
        weights: float [n], weight of each image; None weighs all alike.
        bins: number of bins; each counts with the weight of its images.

    Returns:
        The error, in [0, 1], and its noise floor: its mean where every probability is right. The difference in a bin
        then is normal around 0, with the variance that the images in the bin show.
    """
    weights = np.ones(len(labels)) if weights is None else weights
    which, each = bins_of(probability, bins), weights * (labels - probability)
    error = np.abs(np.bincount(which, each, bins)).sum()
    noise = np.sqrt(2 / np.pi * np.bincount(which, each**2, bins)).sum()
    return float(error / weights.sum()), float(noise / weights.sum())


def tpr_at_fpr(labels: np.ndarray, logits: np.ndarray, fpr: float) -> float:
    """Largest share of AI images found while at most `fpr` of the real images are flagged."""
    false_positive, true_positive, _ = roc_curve(labels, logits, drop_intermediate=False)
    return float(true_positive[false_positive <= fpr].max())


def mean_over(values: list[float]) -> float:
    """Mean of the finite values; NaN where there is none."""
    finite = [value for value in values if math.isfinite(value)]
    return float(np.mean(finite)) if finite else math.nan


def _shares(labels: np.ndarray, logits: np.ndarray, calibration: Calibration | None) -> dict[str, tuple[int, int]]:
    """Every figure that is a share, as (hits, images): (0, 0) where it does not exist."""
    ai_from, real_below = (calibration.ai_from, calibration.real_below) if calibration else (None, None)
    ai = np.zeros(len(logits), bool) if ai_from is None else logits >= ai_from
    real = np.zeros(len(logits), bool) if real_below is None else logits < real_below
    decided, is_ai = ai | real, labels == 1
    right = np.where(is_ai, ai, real)

    def counted(hits: np.ndarray, among: np.ndarray, exists: bool = True) -> tuple[int, int]:
        return (int((hits & among).sum()), int(among.sum())) if exists else (0, 0)

    half, whole = (logits >= 0) == is_ai, np.ones(len(logits), bool)
    return {
        "coverage": counted(decided, whole, calibration is not None),
        "accuracy": counted(right, decided),
        "real_accuracy": counted(right, decided & ~is_ai, real_below is not None),
        "fake_accuracy": counted(right, decided & is_ai, ai_from is not None),
        "accuracy_05": counted(half, whole), "real_accuracy_05": counted(half, ~is_ai),
        "fake_accuracy_05": counted(half, is_ai),
    }


def binary_metrics(
    labels: np.ndarray, logits: np.ndarray, calibration: Calibration | None = None, all_real: np.ndarray | None = None
) -> Metrics:
    """Compute all figures of one set of images.

    Args:
        labels: int [n], 1 AI-generated, 0 real.
        logits: float [n], raw.
        calibration: gives the thresholds of the verdicts, the likelihood ratio and the probability; None leaves out
            their figures.
        all_real: float [m], raw logits of all real images of the evaluation; None: those of this set.
    """
    labels, logits = np.asarray(labels).astype(np.int64), np.asarray(logits, dtype=np.float64)
    real, fake = logits[labels == 0], logits[labels == 1]
    all_real = real if all_real is None else np.asarray(all_real, dtype=np.float64)
    both = len(real) > 0 and len(fake) > 0
    weights = class_weights(labels) if both else None

    def ranked(figure: Callable[..., float], *options: Any, **weighted: Any) -> float:
        return float(figure(labels, logits, *options, **weighted)) if both else math.nan

    shares = _shares(labels, logits, calibration)
    ci = {name: share_interval(*counts) for name, counts in shares.items()}
    ci.update(auc=auc_interval(real, fake), auc_all_real=auc_interval(all_real, fake))
    cost, least, ece, noise = (math.nan,) * 4
    if calibration and both:
        ratios = log_ratios(logits, calibration)
        cost, least = log_likelihood_ratio_cost(ratios, labels, np.zeros(len(labels))), least_cost(ratios, labels)
        if len(labels) >= ECE_IMAGES:
            ece, noise = calibration_error(labels, probabilities(logits, calibration), weights)
    return Metrics(
        len(fake), len(real), **{name: hits / count if count else math.nan for name, (hits, count) in shares.items()},
        auc=auc_and_variance(real, fake)[0], auc_all_real=auc_and_variance(all_real, fake)[0],
        ap=ranked(average_precision_score), ap_balanced=ranked(average_precision_score, sample_weight=weights),
        tpr_at_fpr_1=ranked(tpr_at_fpr, 0.01), tpr_at_fpr_5=ranked(tpr_at_fpr, 0.05),
        cllr=cost, cllr_min=least, ece=ece, ece_noise=noise,
        ci={name: interval for name, interval in ci.items() if not math.isnan(interval.low)},
    )


def metrics_by_source(scores: Scores, calibration: Calibration | None = None) -> dict[str, Metrics]:
    """The figures of each source in name order."""
    parts = {str(name): scores.of(name) for name in np.unique(scores.sources)}
    real = scores.logits[scores.labels == 0]
    return {name: binary_metrics(own.labels, own.logits, calibration, real) for name, own in parts.items()}
