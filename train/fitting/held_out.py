"""Scores for the calibration: logits of images whose source the scoring head has not seen, where that can be had."""

from __future__ import annotations

import logging

import numpy as np
import torch

from ...runtime.core.manifest import HeadConfig, MethodConfig
from ..calibration.scores import OWN_HEAD, SourceScores
from ..features.cache import FeatureCache
from ..model.head import Head
from .fit_config import FitConfig
from .folds import out_of_fold, source_folds
from .head_training import Examples, examples, logits_of, source_weights, sources_of, train_head

log = logging.getLogger("cinemae.train")


def calibration_scores(
    cache: FeatureCache, rows: np.ndarray, held_rows: np.ndarray, method: MethodConfig, head_config: HeadConfig,
    config: FitConfig, head: Head, quiet: bool = False,
) -> tuple[SourceScores, str]:
    """`held_out_scores`, and beside other heads' scores those of `head` itself on the held-out images.

    Heads fitted without a source may give smaller logits than `head`, which is the one deployed: a threshold from them
    alone would then promise too much. So the held-out images, scored by `head`, count as one more source.
    """
    own, where_own = _own_scores(cache, held_rows, method, head)
    others = _other_heads_scores(cache, rows, held_rows, method, head_config, config, quiet)
    if others is None:
        return own, where_own
    scores, where = others
    both = SourceScores(
        np.concatenate([scores.logits, own.logits]), np.concatenate([scores.labels, own.labels]),
        np.concatenate([scores.sources, np.full(len(own.labels), OWN_HEAD)]),
    )
    return both, f"{where}, and {len(own.labels):,} held-out images by the head itself"


def held_out_scores(
    cache: FeatureCache, rows: np.ndarray, held_rows: np.ndarray, method: MethodConfig, head_config: HeadConfig,
    config: FitConfig, head: Head, quiet: bool = False,
) -> tuple[SourceScores, str]:
    """Logits of images that the scoring head has not seen, for the calibration, and what they are, in words.

    With several sources in both classes, every source is left out once and all images are scored (`folds`), by heads
    that have not seen the same bytes in another source either. With a single source in a class none can be left out,
    nor where the held-out images of the others lack a class, so that no epoch can be chosen: the held-out images are
    scored by `head` itself, and the rates hold for their sources only. Of augmented views the first alone counts:
    several views of an image are no more evidence than one.
    """
    others = _other_heads_scores(cache, rows, held_rows, method, head_config, config, quiet)
    return _own_scores(cache, held_rows, method, head) if others is None else others


def _other_heads_scores(
    cache: FeatureCache, rows: np.ndarray, held_rows: np.ndarray, method: MethodConfig, head_config: HeadConfig,
    config: FitConfig, quiet: bool,
) -> tuple[SourceScores, str] | None:
    """The scores of all images by heads fitted without their sources; None where no source can be left out."""
    everything = np.concatenate([rows, held_rows])
    labels, sources = cache.labels(everything), sources_of(cache, everything)
    _, contents = np.unique([cache.rows[i].content for i in everything], return_inverse=True)
    folds = source_folds(labels, sources)
    is_held = np.arange(len(everything)) >= len(rows)
    if folds is None or not _every_fold_can_learn(labels, folds, is_held, contents):
        return None
    whole = examples(cache, everything, method)

    def pick(chosen: np.ndarray) -> Examples:
        weights = source_weights(labels[chosen], sources[chosen]) if config.balance_sources else None
        kept = torch.from_numpy(np.flatnonzero(chosen))
        return Examples(whole.f_global[kept], whole.stats[kept], whole.labels[kept],
                        None if weights is None else torch.from_numpy(weights))

    def score(fitted: np.ndarray, scored: np.ndarray) -> np.ndarray:
        unseen = fitted & ~np.isin(contents, contents[scored])
        result = train_head(pick(unseen & ~is_held), pick(unseen & is_held), config, head_config, quiet)
        left_out = pick(scored)
        return logits_of(result.head, left_out.f_global, left_out.stats[:, 0]).numpy()

    found, first = out_of_fold(labels, sources, folds, score), _first_views(cache, everything)
    counts = [len(np.unique(sources[labels == label])) for label in (1, 0)]
    where = (f"{first.sum():,} images of {counts[0]} AI and {counts[1]} real sources, each source scored by a head "
             "fitted without it")
    return SourceScores(found.logits[first], labels[first], sources[first]), where


def _own_scores(
    cache: FeatureCache, held_rows: np.ndarray, method: MethodConfig, head: Head
) -> tuple[SourceScores, str]:
    """The first views of the held-out images, scored by the head that is deployed, and what they are, in words."""
    chosen = held_rows[_first_views(cache, held_rows)]
    held = examples(cache, chosen, method)
    logits = logits_of(head, held.f_global, held.stats[:, 0]).numpy()
    where = f"{len(chosen):,} held-out images of the sources trained on; other sources were not measured"
    return SourceScores(logits, cache.labels(chosen), sources_of(cache, chosen)), where


def _first_views(cache: FeatureCache, rows: np.ndarray) -> np.ndarray:
    """Which rows are the first view of their image: bool [n]."""
    return np.array([cache.rows[i].view == 0 for i in rows], dtype=bool)


def _every_fold_can_learn(labels: np.ndarray, folds: np.ndarray, is_held: np.ndarray, contents: np.ndarray) -> bool:
    """Whether both classes are, outside of each fold and its bytes, among the images held out and among the others."""
    for fold in np.unique(folds):
        unseen = (folds != fold) & ~np.isin(contents, contents[folds == fold])
        if any(len(np.unique(labels[unseen & part])) < 2 for part in (is_held, ~is_held)):
            return False
    return True
