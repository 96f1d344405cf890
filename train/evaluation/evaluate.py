"""Score a cache with a fitted head and report per generator; memory does not grow with the features."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from ...runtime.errors import UsageError
from ...runtime.manifest import Calibration
from ..data.generators import same_generators
from ..features.cache import SPEC_FILE, FeatureCache
from ..features.cache_spec import CacheSpec
from ..fitting.checkpoint import LoadedHead
from ..fitting.fit import is_held_out, logits_of
from .metrics import FIGURES, Metrics, binary_metrics, mean_over


@dataclass(frozen=True)
class LabelledScores:
    """Scores of labelled images, one entry for each image in all fields.

    Attributes:
        paths: absolute paths of the files.
        labels: int64 [n], 1 AI-generated, 0 real.
        logits: float32 [n], raw logits of the head.
        generators: generator of each image.
        splits: split of each image.
    """

    paths: tuple[str, ...]
    labels: np.ndarray
    logits: np.ndarray
    generators: tuple[str, ...]
    splits: tuple[str, ...]

    def of(self, generator: str, split: str | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Labels and logits of one generator, of one of its splits or of all together."""
        chosen = np.array(self.generators) == generator
        if split is not None:
            chosen &= np.array(self.splits) == split
        return self.labels[chosen], self.logits[chosen]

    @property
    def groups(self) -> list[tuple[str, str]]:
        """Every (generator, split) there is, sorted."""
        return sorted(set(zip(self.generators, self.splits, strict=True)))


@dataclass(frozen=True)
class GroupFigures:
    """Figures of one generator's split: a row of the evaluation's table.

    Attributes:
        generator: name of the generator.
        split: "train", "val" or "test".
        seen: whether the head was trained on this generator.
        metrics: the figures.
    """

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
    """

    checkpoint: str
    calibration: Calibration
    groups: tuple[GroupFigures, ...]
    mean: dict[str, float]
    mean_unseen: dict[str, float]


def spec_of(loaded: LoadedHead, root: Path, paths: Collection[str], augment: str = "none") -> CacheSpec:
    """Choose the cache from which images are scored.

    Scoring needs the deployed mask set alone. Where the cache with all mask sets, which fitting filled, already holds
    every image, it is used as it is; otherwise a cache with the deployed set alone is filled, at less than half the
    cost.

    Args:
        loaded: the checkpoint.
        root: folder of all caches.
        paths: absolute paths of the images to score.
        augment: augmentation of the images.

    Returns:
        The specification of the cache to use; its key is the folder's name under `root`.
    """
    manifest = loaded.manifest
    full, deployed = (
        CacheSpec.create(manifest.backbone, manifest.preprocess, manifest.method, sets, augment)
        for sets in (loaded.mask_sets, loaded.mask_sets[:1])
    )
    folder = root / full.key
    if (folder / SPEC_FILE).exists() and {sample.path for sample in FeatureCache(folder).known} >= set(paths):
        return full
    return deployed


def score(loaded: LoadedHead, cache: FeatureCache, chosen: np.ndarray) -> LabelledScores:
    """Score rows of a cache with the deployed masks, one shard in memory at a time.

    Args:
        loaded: the checkpoint.
        cache: the features.
        chosen: int64 [n] row indices.
    """
    method = loaded.manifest.method
    logits = np.empty(len(chosen), np.float32)
    for positions, features in cache.batches(chosen):
        stats = torch.from_numpy(features.stats(method)[:, 0])
        logits[positions] = logits_of(loaded.head, torch.from_numpy(features.f_global), stats).numpy()
    rows = [cache.rows[i] for i in chosen]
    return LabelledScores(
        tuple(row.path for row in rows), cache.labels(chosen), logits,
        tuple(row.generator for row in rows), tuple(row.split for row in rows),
    )  # fmt: skip


def held_out_rows(loaded: LoadedHead, cache: FeatureCache, share: float, seed: int, split: str) -> np.ndarray:
    """Find the rows of the training generators that fitting held out.

    Args:
        loaded: the checkpoint.
        cache: the features it was fitted on.
        share: share of the training images that was held out.
        seed: seed of the fit.
        split: split it was trained on.

    Returns:
        int64 [n] row indices.

    Raises:
        UsageError: the cache holds none of them.
    """
    chosen = cache.select(split=split, generators=loaded.manifest.training.generators)
    held = np.array([i for i in chosen if is_held_out(cache.rows[i].content, share, seed)], dtype=np.int64)
    if not len(held):
        raise UsageError(
            f"{cache.folder} holds none of the images held out in fitting; extract the training data first"
        )
    return held


def evaluate(loaded: LoadedHead, scores: LabelledScores, resamples: int = 1000, seed: int = 0) -> Evaluation:
    """Compute the figures per generator and split, and their means.

    Args:
        loaded: the checkpoint that made the scores.
        scores: labels and logits.
        resamples: bootstrap resamples for the intervals; 0 leaves the intervals out.
        seed: seed of the bootstrap.
    """
    manifest = loaded.manifest
    seen, _ = same_generators(manifest.training.generators, scores.generators)
    groups = tuple(
        GroupFigures(generator, split, generator in seen,
                     binary_metrics(*scores.of(generator, split), manifest.calibration, resamples, seed))
        for generator, split in scores.groups
    )  # fmt: skip

    whole = {
        generator: binary_metrics(*scores.of(generator), manifest.calibration, resamples=0)
        for generator in sorted(set(scores.generators))
    }

    def means(generators: Collection[str]) -> dict[str, float]:
        return {name: mean_over([getattr(whole[generator], name) for generator in generators]) for name in FIGURES}

    unseen = means([generator for generator in whole if generator not in seen])
    return Evaluation(str(loaded.folder), manifest.calibration, groups, means(whole), unseen)
