"""Out-of-fold scores by source: every source is scored by a head that was fitted without it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..calibration.scores import SourceScores

FOLDS = 5
"""Heads fitted for the thresholds: each leaves out about a fifth of the sources of each class."""


def source_folds(labels: np.ndarray, sources: np.ndarray, folds: int = FOLDS) -> np.ndarray | None:
    """Assign sources to folds, the largest first to the fold that holds fewest images of the class.

    Args:
        labels: int64 [n], 1 AI, 0 real.
        sources: str [n]. A name that both classes share stands for two sources.
        folds: largest number of folds; a class with fewer sources has as many folds as sources.

    Returns:
        int64 [n], the fold of each image; None where a class has a single source, so that none can be left out.
    """
    assigned = np.empty(len(labels), np.int64)
    for label in (0, 1):
        names, counts = np.unique(sources[labels == label], return_counts=True)
        if len(names) < 2:
            return None
        held = np.zeros(min(folds, len(names)), np.int64)
        for name, count in sorted(zip(names, counts, strict=True), key=lambda pair: (-pair[1], pair[0])):
            fold = int(held.argmin())
            held[fold] += count
            assigned[(labels == label) & (sources == name)] = fold
    return assigned


def out_of_fold(
    labels: np.ndarray, sources: np.ndarray, folds: np.ndarray, score: Callable[[np.ndarray, np.ndarray], np.ndarray]
) -> SourceScores:
    """Score every image by a head that did not see its source.

    Args:
        labels: int64 [n].
        sources: str [n].
        folds: int64 [n], from `source_folds`.
        score: fits a head on the images where the first mask, bool [n], holds, and gives the logits, float32, of those
            where the second one does.
    """
    logits = np.empty(len(labels), np.float32)
    for fold in np.unique(folds):
        inside = folds == fold
        logits[inside] = score(~inside, inside)
    return SourceScores(logits, labels, sources)
