"""Simple classifiers on features that are no pictures, cross-validated: how well they tell the classes apart."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score, roc_auc_score
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier

CHANCE = 0.5
FOLDS = 5
LEAST = 1e-9
MIN_PER_CLASS = 4
"""With fewer different images of a class, the figures are NaN."""


@dataclass(frozen=True)
class ProbeResult:
    """Figures of one probe.

    Attributes:
        balanced_accuracy: mean of the accuracies of the two classes; chance is 0.5 whatever their shares.
        auc: area under the ROC curve.
        n: images of both classes together.
    """

    balanced_accuracy: float
    auc: float
    n: int

    @property
    def error(self) -> float:
        """Standard error of an accuracy at chance."""
        return 0.5 / math.sqrt(max(1, self.n))


def linear() -> BaseEstimator:
    """Standardised logistic regression."""
    return make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=2000, class_weight="balanced"))


def tree() -> BaseEstimator:
    """A small decision tree, for features with thresholds, such as containers and sizes."""
    return DecisionTreeClassifier(max_depth=5, min_samples_leaf=3, class_weight="balanced", random_state=0)


def scores(model: BaseEstimator, features: np.ndarray) -> np.ndarray:
    """P(AI) of a fitted classifier: float [n]."""
    return np.asarray(model.predict_proba(features)[:, 1])


def cross_validate(model: BaseEstimator, features: np.ndarray, labels: np.ndarray, groups: np.ndarray) -> ProbeResult:
    """Compute out-of-fold figures.

    Args:
        model: classifier, fitted anew for each fold.
        features: float [n, F].
        labels: int [n], 1 AI-generated, 0 real.
        groups: int [n]; images of one group, such as duplicates, stay in one fold.
    """
    counts = [len(np.unique(groups[labels == label])) for label in (0, 1)]
    if min(counts) < MIN_PER_CLASS:
        return ProbeResult(math.nan, math.nan, len(labels))
    folds = StratifiedGroupKFold(min(FOLDS, *counts), shuffle=True, random_state=0)
    probability = np.full(len(labels), CHANCE)
    for train, test in folds.split(features, labels, groups):
        if len(np.unique(labels[train])) == 2:
            model.fit(features[train], labels[train])
            probability[test] = scores(model, features[test])
    accuracy = balanced_accuracy_score(labels, probability > CHANCE)
    return ProbeResult(float(accuracy), float(roc_auc_score(labels, probability)), len(labels))


def transfer(features: np.ndarray, labels: np.ndarray, test: np.ndarray) -> np.ndarray:
    """Fit a linear probe on one set and apply it to another.

    Args:
        features: float [n, F] of the training images; rows that are not finite are left out.
        labels: int [n], 1 AI-generated, 0 real.
        test: float [m, F].

    Returns:
        Log odds of AI, float [m]; 0 where a row of `test` is not finite.
    """
    usable = np.isfinite(features).all(axis=1)
    model = linear().fit(features[usable], labels[usable])
    probability = scores(model, np.nan_to_num(test)).clip(LEAST, 1 - LEAST)
    return np.where(np.isfinite(test).all(axis=1), np.log(probability / (1 - probability)), 0.0)
