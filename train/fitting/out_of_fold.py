"""Scores for the calibration: logits of images whose source the scoring head has not seen, where that can be had."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ...runtime.core.manifest import HeadConfig
from ...runtime.core.progress import Progress
from ..calibration.scores import OWN_HEAD, Scores
from ..data.transforms import tier_of, untiered
from ..model.head import Head
from .examples import Examples
from .fit_config import FitConfig
from .head_training import train_head

FOLDS = 5
"""Heads fitted for the thresholds: each leaves out about a fifth of the sources of each class."""


def source_folds(labels: np.ndarray, sources: np.ndarray, folds: int = FOLDS) -> np.ndarray | None:
    """Assign sources to folds, the largest source first, each to the fold that holds the fewest images of its class.

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


def out_of_fold(folds: np.ndarray, score: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> np.ndarray:
    """Score every image by a head that did not see its source: float32 [n].

    Args:
        folds: int64 [n], from `source_folds`.
        score: fits a head on the images where the first mask, bool [n], holds, and gives the logits, float32, of those
            where the second mask does.
    """
    logits = np.empty(len(folds), np.float32)
    for fold in np.unique(folds):
        inside = folds == fold
        logits[inside] = score(~inside, inside)
    return logits


def calibration_scores(
    train: Examples, held: Examples, head: Head, config: FitConfig, quiet: bool = False
) -> tuple[Scores, str]:
    """The scores that a calibration of `head` is fitted on, and their description for the manifest.

    These are the `left_out_scores` and, as one more source, the held-out images scored by `head`. Heads fitted without
    a source may give smaller logits than `head`, which is deployed: thresholds from theirs alone would promise too
    much. Where no source can be left out, the held-out images alone are scored, and the rates hold for their sources.
    """
    own = held.take(held.measured)
    scored = own.scores(own.logits(head))
    others = left_out_scores(train, held, head.config, config, quiet)
    if others is None:
        return scored, f"{_images(scored):,} held-out images of the sources trained on; other sources were not measured"
    both = Scores(
        np.concatenate([others.logits, scored.logits]), np.concatenate([others.labels, scored.labels]),
        np.concatenate([others.sources, np.full(len(own), OWN_HEAD)]),
    )
    n_ai, n_real = (len({untiered(name) for name in others.by_source(label)}) for label in (1, 0))
    where = (f"{_images(others):,} images of {n_ai} AI and {n_real} real sources, each source scored by a head "
             f"fitted without it, and {_images(scored):,} held-out images by the head itself")
    return both, where


def _images(scores: Scores) -> int:
    """Different images: an image in three tiers of delivery is one."""
    return sum(not tier_of(name) for name in scores.sources.tolist())


def left_out_scores(
    train: Examples, held: Examples, head_config: HeadConfig, config: FitConfig, quiet: bool = False
) -> Scores | None:
    """Score all images by heads that have seen neither their source nor the same bytes in another source.

    Of augmented views the first alone is scored: several views of an image are no more evidence than one. Tiers of
    delivery are scored all, each as a source.

    Returns:
        None where a class has a single source, or where the images held out of the other sources lack a class, so that
        no epoch can be chosen.
    """
    whole = train.joined(held)
    labels, sources = whole.labels.numpy(), whole.sources
    _, contents = np.unique([row.content for row in whole.rows], return_inverse=True)
    folds = source_folds(labels, sources)
    is_held = np.arange(len(whole)) >= len(train)
    if folds is None or not _every_fold_can_learn(labels, folds, is_held, contents):
        return None

    def score(fitted: np.ndarray, scored: np.ndarray) -> np.ndarray:
        unseen = fitted & ~np.isin(contents, contents[scored])
        parts = whole.take(unseen & ~is_held), whole.take(unseen & is_held)
        logits = whole.take(scored).logits(train_head(*parts, config, head_config, quiet=True).head)
        progress.advance()
        return logits

    with Progress("heads without some sources", len(np.unique(folds)), quiet=quiet) as progress:
        return whole.scores(out_of_fold(folds, score)).take(whole.measured)


def _every_fold_can_learn(labels: np.ndarray, folds: np.ndarray, is_held: np.ndarray, contents: np.ndarray) -> bool:
    """Whether both classes are, outside of each fold and its bytes, among the images held out and among the others."""
    for fold in np.unique(folds):
        unseen = (folds != fold) & ~np.isin(contents, contents[folds == fold])
        if any(len(np.unique(labels[unseen & part])) < 2 for part in (is_held, ~is_held)):
            return False
    return True
