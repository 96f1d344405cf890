"""Scores for the calibration: logits of images whose source the scoring head has not seen, where that can be had."""

from __future__ import annotations

import logging

import numpy as np
import torch

from ...runtime.manifest import HeadConfig, MethodConfig
from ..features.cache import FeatureCache
from ..model.head import Head
from .folds import out_of_fold, source_folds
from .head_training import Examples, FitConfig, examples, logits_of, source_weights, sources_of, train_head
from .source_scores import SourceScores

log = logging.getLogger("cinemae.train")


def held_out_scores(
    cache: FeatureCache, rows: np.ndarray, held_rows: np.ndarray, method: MethodConfig, head_config: HeadConfig,
    config: FitConfig, head: Head, quiet: bool = False,
) -> tuple[SourceScores, str]:  # fmt: skip
    """Logits of images that the scoring head has not seen, for the calibration, and what they are, in words.

    With several sources in both classes, every source is left out once and all images are scored (`folds`). With a
    single source in a class none can be left out, nor where the held-out images of the others lack a class, so that no
    epoch can be chosen: the held-out images are scored by `head` itself, and the rates hold for their sources only.
    """
    everything = np.concatenate([rows, held_rows])
    labels, sources = cache.labels(everything), sources_of(cache, everything)
    folds = source_folds(labels, sources)
    is_held = np.arange(len(everything)) >= len(rows)
    if folds is None or not _every_fold_can_choose(labels, folds, is_held):
        held = examples(cache, held_rows, method)
        logits = logits_of(head, held.f_global, held.stats[:, 0]).numpy()
        where = f"{len(held_rows):,} held-out images of the sources trained on; other sources were not measured"
        return SourceScores(logits, cache.labels(held_rows), sources_of(cache, held_rows)), where
    whole = examples(cache, everything, method)

    def pick(chosen: np.ndarray) -> Examples:
        weights = source_weights(labels[chosen], sources[chosen]) if config.balance_sources else None
        kept = torch.from_numpy(np.flatnonzero(chosen))
        return Examples(whole.f_global[kept], whole.stats[kept], whole.labels[kept],
                        None if weights is None else torch.from_numpy(weights))  # fmt: skip

    def score(fitted: np.ndarray, scored: np.ndarray) -> np.ndarray:
        result = train_head(pick(fitted & ~is_held), pick(fitted & is_held), config, head_config, quiet)
        left_out = pick(scored)
        return logits_of(result.head, left_out.f_global, left_out.stats[:, 0]).numpy()

    counts = [len(np.unique(sources[labels == label])) for label in (1, 0)]
    where = (f"{len(everything):,} images of {counts[0]} AI and {counts[1]} real sources, each source scored by a head "
             "fitted without it")  # fmt: skip
    return out_of_fold(labels, sources, folds, score), where


def _every_fold_can_choose(labels: np.ndarray, folds: np.ndarray, is_held: np.ndarray) -> bool:
    """Whether both classes are among the held-out images outside of each fold."""
    return all(len(np.unique(labels[is_held & (folds != fold)])) == 2 for fold in np.unique(folds))
