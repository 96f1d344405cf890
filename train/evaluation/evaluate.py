"""Score a cache with a fitted head and report per generator; memory does not grow with the features."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
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
from .intervals import RESAMPLES, Interval, mean_interval
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
class Means:
    """Plain means of the figures over generators.

    Attributes:
        generators: averaged; a generator with several splits counts once, with all its images.
        values: by the name of the figure, that of `accuracy_05` is mAcc; NaN where no generator has the figure.
        ci: 95 % intervals for new generators of the kind, by resampling the generators.
    """

    generators: tuple[str, ...]
    values: dict[str, float]
    ci: dict[str, Interval]

    def __getitem__(self, figure: str) -> float:
        """The mean of a figure."""
        return self.values[figure]

    @classmethod
    def of(cls, figures: Mapping[str, Metrics], resamples: int, seed: int, pooled: bool = False) -> Means:
        """The means of the figures of every generator.

        Args:
            figures: by generator; those with images of both classes are averaged.
            resamples: of the intervals.
            seed: of the intervals.
            pooled: average `auc_all_real` alone, over all generators that have AI images.
        """
        chosen = {name: one for name, one in figures.items() if (one.n_ai if pooled else one.both)}
        names = ("auc_all_real",) if pooled else tuple(FIGURES)
        columns = {figure: [getattr(one, figure) for one in chosen.values()] for figure in names}
        ci = {}
        for figure, column in columns.items():
            interval = mean_interval(column, resamples, seed, (0.0, math.inf if figure.startswith("cllr") else 1.0))
            if not math.isnan(interval.low):
                ci[figure] = interval
        return cls(tuple(chosen), {figure: mean_over(column) for figure, column in columns.items()}, ci)


@dataclass(frozen=True)
class Evaluation:
    """All figures of one checkpoint.

    Attributes:
        checkpoint: its folder.
        calibration: the calibration used.
        groups: figures by generator and split.
        whole: figures of all images together, each of which weighs alike; its AUC is that against all real images.
        mean: over all generators.
        mean_unseen: over the generators that the head was not trained on.
        mean_all_real: of the AUC against all real images, over all generators with AI images.
        verdicts: counts by class and source.
    """

    checkpoint: str
    calibration: Calibration
    groups: tuple[GroupFigures, ...]
    whole: Metrics
    mean: Means
    mean_unseen: Means
    mean_all_real: Means
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

    A tier of delivery counts as a split.

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
    tiers = cache.spec.tiers
    generators = np.array([row.generator for row in rows])
    splits = np.array([", ".join(filter(None, (row.split, tiers[row.view] if tiers else ""))) for row in rows])
    return Scores(logits, cache.labels(chosen), generators, splits)


def evaluate(loaded: LoadedHead, scores: Scores, resamples: int = RESAMPLES, seed: int = 0) -> Evaluation:
    """Compute the figures per generator and split, and their means.

    Args:
        loaded: the checkpoint that made the scores.
        scores: labels and logits, with splits.
        resamples: of the generators, for the intervals of the means; 0 leaves these out.
        seed: of the resamples.
    """
    calibration, names = loaded.manifest.calibration, scores.sources.tolist()
    seen, _ = same_generators(loaded.manifest.training.generators, names)
    real, groups = scores.logits[scores.labels == 0], []
    for name, split in scores.groups:
        own = scores.of(name, split)
        metrics = binary_metrics(own.labels, own.logits, calibration, real)
        groups.append(GroupFigures(name, split, name in seen, metrics))
    whole = binary_metrics(scores.labels, scores.logits, calibration)
    whole = replace(whole, auc=math.nan, ci={name: one for name, one in whole.ci.items() if name != "auc"})
    each = metrics_by_source(scores, calibration)
    unseen = {name: metrics for name, metrics in each.items() if name not in seen}
    return Evaluation(
        str(loaded.folder), calibration, tuple(groups), whole, Means.of(each, resamples, seed),
        Means.of(unseen, resamples, seed), Means.of(each, resamples, seed, pooled=True),
        count_verdicts(scores, calibration),
    )
