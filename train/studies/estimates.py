"""Figures of a detector over seeds, images and generators, with intervals for other seeds and other images.

The generators are fixed: a figure of these stands beside the paper's of the same generators. What other generators
would give is not in the interval.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import cached_property

import numpy as np
from scipy.stats import t
from sklearn.metrics import roc_auc_score

from ..calibration.scores import Scores
from ..evaluation.intervals import TAIL, Interval, auc_interval, share_interval
from ..reporting.estimate import Estimate, difference, mean_of

SHARES, GAINS = (0.0, 1.0), (-1.0, 1.0)
"""Bounds of shares, and of differences of two."""
INTERVALS = "[low, high]: 95 % interval for other images of these generators and other seeds, not for other generators."
"""Explains the intervals in notes of tables."""
Measure = Callable[[np.ndarray], tuple[np.ndarray, Interval]]
"""From images, bool [n], to the figure of each seed, float [S], and the interval of their mean for other images."""


class SeedScores:
    """Scores of one detector, of heads of one or several seeds.

    Attributes:
        scores: float [S, n], AI from 0 on.
        truth: labels and generators of the images.
    """

    def __init__(self, scores: Sequence[np.ndarray], truth: Scores) -> None:
        self.scores, self.truth = np.stack(scores), truth

    def __len__(self) -> int:
        return len(self.scores)

    @cached_property
    def right(self) -> np.ndarray:
        """Whether each image is on the right side of the paper's threshold: float [S, n], 0 or 1."""
        return ((self.scores >= 0) == (self.truth.labels == 1)).astype(np.float64)

    def accuracy(self, generators: Sequence[str]) -> Estimate:
        """Mean over generators of plain accuracy: mAcc."""
        return self._over(generators, self._accuracy, SHARES)

    def auc(self, generators: Sequence[str]) -> Estimate:
        """Mean over generators of the AUC: mAUC."""
        return self._over(generators, self._auc, SHARES)

    def gain(self, other: SeedScores, generators: Sequence[str]) -> Estimate:
        """mAcc less that of another detector on the same images; only images that one of both has right count."""

        def measure(at: np.ndarray) -> tuple[np.ndarray, Interval]:
            mine, others = self.right[:, at], other.right[:, at]
            change, count = mine.mean(axis=0) - others.mean(axis=0), int(at.sum())
            sums = (float(part.clip(0).sum()) for part in (change, -change))
            both = difference(*(share(hits, count) for hits in sums))
            return mine.mean(axis=1) - others.mean(axis=1), Interval(both.low, both.high)

        return self._over(generators, measure, GAINS)

    def class_accuracy(self, label: int, generators: Sequence[str]) -> float:
        """Mean over generators of the accuracy on the images of one class."""
        own = self.truth.labels == label
        return float(np.mean([self.right[:, own & (self.truth.sources == name)].mean() for name in generators]))

    def seed_aucs(self, generators: Sequence[str]) -> np.ndarray:
        """Mean over generators of the AUC, of each seed: float [S]."""
        return np.mean([self._auc(self.truth.sources == name)[0] for name in generators], axis=0)

    def _accuracy(self, at: np.ndarray) -> tuple[np.ndarray, Interval]:
        right = self.right[:, at]
        return right.mean(axis=1), share_interval(float(right.mean(axis=0).sum()), right.shape[1])

    def _auc(self, at: np.ndarray) -> tuple[np.ndarray, Interval]:
        labels = self.truth.labels[at]
        found = [(roc_auc_score(labels, own), auc_interval(own[labels == 0], own[labels == 1]))
                 for own in self.scores[:, at]]
        low, high = (float(np.mean([getattr(interval, end) for _, interval in found])) for end in ("low", "high"))
        return np.array([auc for auc, _ in found]), Interval(low, high)

    def _over(self, generators: Sequence[str], measure: Measure, bounds: tuple[float, float]) -> Estimate:
        found = [measure(self.truth.sources == name) for name in generators]
        images = mean_of([Estimate(float(seeds.mean()), interval.low, interval.high) for seeds, interval in found])
        return images.widened(seed_error(np.mean([seeds for seeds, _ in found], axis=0)), bounds)


def share(hits: float, count: int) -> Estimate:
    """A share with its exact interval."""
    return Estimate(hits / count, **vars(share_interval(hits, count)))


def seed_error(figures: np.ndarray) -> float:
    """Half width of the 95 % interval of the mean of a figure over seeds, float [S]; 0 of a single seed."""
    if len(figures) < 2:
        return 0.0
    return float(t.ppf(1 - TAIL, len(figures) - 1) * figures.std(ddof=1) / math.sqrt(len(figures)))
