"""Score a cache with a fitted head and report per generator; memory does not grow with the features."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from ...runtime.core.calibration import Calibration
from ...runtime.core.errors import UsageError
from ..calibration.scores import Scores
from ..compute import Precision
from ..data.generators import same_generators
from ..features.cache import FeatureCache
from ..features.cache_spec import SPEC_FILE, CacheSpec
from ..fitting.checkpoint import LoadedHead
from ..fitting.examples import logits_of
from .metrics import FIGURES, Metrics, binary_metrics, mean_over, metrics_by_source
from .verdicts import VerdictCounts, count_verdicts


@dataclass(frozen=True)
class GroupFigures:
    """Figures of one generator's split; `seen`: whether the head was trained on the generator."""

    generator: str
    split: str
    seen: bool
    metrics: Metrics


@dataclass(frozen=True)
class Evaluation:
    """All figures of one checkpoint.

    Attributes:
        checkpoint: its folder.
        calibration: the calibration used.
        groups: figures by generator and split.
        mean: plain means over the generators, by the name of the figure; that of `accuracy_05` is mAcc. A generator
            with several splits counts once, with all its images.
        mean_unseen: the same over the generators that the head was not trained on; NaN where there is none.
        verdicts: counts by class and source.
    """

    checkpoint: str
    calibration: Calibration
    groups: tuple[GroupFigures, ...]
    mean: dict[str, float]
    mean_unseen: dict[str, float]
    verdicts: tuple[VerdictCounts, ...] = ()


def spec_of(
    loaded: LoadedHead, root: Path, paths: Collection[str], augment: str = "none", precision: Precision = "fp32"
) -> CacheSpec:
    """Choose the cache under `root` from which images, by their absolute paths, are scored.

    Scoring needs the deployed mask set alone. Where the cache with all mask sets, which fitting filled, already holds
    every image, it is used as it is; otherwise a cache with the deployed set alone is filled, at less than half the
    cost.
    """
    manifest = loaded.manifest
    full, deployed = (
        CacheSpec.create(manifest.backbone, manifest.preprocess, manifest.method, sets, augment, precision=precision)
        for sets in (loaded.mask_sets, loaded.mask_sets[:1])
    )
    folder = root / full.key
    if (folder / SPEC_FILE).exists() and {row.path for row in FeatureCache(folder, None).views} >= set(paths):
        return full
    return deployed


def score(loaded: LoadedHead, cache: FeatureCache, chosen: np.ndarray) -> Scores:
    """Score the rows `chosen`, int64 [n], of a cache with the deployed masks, one shard in memory at a time.

    Raises:
        UsageError: a score is not finite; names the first such image.
    """
    method = loaded.manifest.method
    logits = np.empty(len(chosen), np.float32)
    for positions, features in cache.batches(chosen):
        stats = torch.from_numpy(features.stats(method)[:, 0])
        logits[positions] = logits_of(loaded.head, torch.from_numpy(features.f_global), stats).numpy()
    rows = [cache.rows[i] for i in chosen]
    if len(wrong := np.flatnonzero(~np.isfinite(logits))):
        raise UsageError(
            f"{loaded.folder}: the scores of {len(wrong):,} images are not finite, the first {rows[wrong[0]].path}; "
            "extract with --precision fp32, or fit again"
        )
    generators, splits = (np.array([getattr(row, name) for row in rows]) for name in ("generator", "split"))
    return Scores(logits, cache.labels(chosen), generators, splits)


def evaluate(loaded: LoadedHead, scores: Scores, resamples: int = 1000, seed: int = 0) -> Evaluation:
    """Compute the figures per generator and split, and their means.

    Args:
        loaded: the checkpoint that made the scores.
        scores: labels and logits, with splits.
        resamples: bootstrap resamples for the intervals; 0 leaves the intervals out.
        seed: seed of the bootstrap.
    """
    calibration, names = loaded.manifest.calibration, scores.sources.tolist()
    seen, _ = same_generators(loaded.manifest.training.generators, names)
    groups = []
    for name, split in scores.groups:
        own = scores.of(name, split)
        metrics = binary_metrics(own.labels, own.logits, calibration, resamples, seed)
        groups.append(GroupFigures(name, split, name in seen, metrics))
    whole = metrics_by_source(scores, calibration)

    def means(generators: Collection[str]) -> dict[str, float]:
        return {name: mean_over([getattr(whole[generator], name) for generator in generators]) for name in FIGURES}

    unseen = means([generator for generator in whole if generator not in seen])
    counts = count_verdicts(scores, calibration)
    return Evaluation(
        str(loaded.folder), calibration, tuple(groups), mean=means(whole), mean_unseen=unseen, verdicts=counts
    )
