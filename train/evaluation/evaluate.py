"""Score a cache with a fitted head and report per generator; memory does not grow with the features."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from ...runtime.errors import UsageError
from ...runtime.manifest import Calibration
from ..features.cache import SPEC_FILE, FeatureCache
from ..features.cache_spec import CacheSpec
from ..fitting.checkpoint import LoadedHead
from ..fitting.fit import is_held_out, logits_of
from .metrics import FIGURES, Metrics, binary_metrics, mean_over


@dataclass(frozen=True)
class Scored:
    """Rows of a cache with their raw logits float32 [n], labels int64 [n], generator and split of each."""

    paths: tuple[str, ...]
    labels: np.ndarray
    logits: np.ndarray
    generators: tuple[str, ...]
    splits: tuple[str, ...]

    def of(self, generator: str, split: str) -> tuple[np.ndarray, np.ndarray]:
        """Labels and logits of one generator's split."""
        chosen = np.array([pair == (generator, split) for pair in zip(self.generators, self.splits, strict=True)])
        return self.labels[chosen], self.logits[chosen]

    @property
    def groups(self) -> list[tuple[str, str]]:
        """(generator, split), sorted."""
        return sorted(set(zip(self.generators, self.splits, strict=True)))


@dataclass(frozen=True)
class GroupFigures:
    """One line of the table. `seen`: the head trained on this generator."""

    generator: str
    split: str
    seen: bool
    metrics: Metrics


@dataclass(frozen=True)
class Evaluation:
    """Figures of every generator, plain means over all and over the generators not trained on (NaN without any)."""

    checkpoint: str
    calibration: Calibration
    groups: tuple[GroupFigures, ...]
    mean: dict[str, float]
    mean_unseen: dict[str, float]


def spec_of(loaded: LoadedHead, root: Path, paths: Collection[str], augment: str = "none") -> CacheSpec:
    """The cache to score these (absolute) paths from: the one with all mask sets where ROOT has them all in it already,
    else one with the deployed set alone, which costs less than half to fill."""
    manifest = loaded.manifest
    full, deployed = (
        CacheSpec.create(manifest.backbone, manifest.preprocess, manifest.method, sets, augment)
        for sets in (loaded.mask_sets, loaded.mask_sets[:1])
    )
    folder = root / full.key
    if (folder / SPEC_FILE).exists() and {sample.path for sample in FeatureCache(folder).known} >= set(paths):
        return full
    return deployed


def score(loaded: LoadedHead, cache: FeatureCache, chosen: np.ndarray) -> Scored:
    """Raw logits of the chosen rows with the deployed masks, one shard in memory at a time."""
    method = loaded.manifest.method
    logits = np.empty(len(chosen), np.float32)
    for positions, features in cache.batches(chosen):
        stats = torch.from_numpy(features.stats(method)[:, 0])
        logits[positions] = logits_of(loaded.head, torch.from_numpy(features.f_global), stats).numpy()
    rows = [cache.rows[i] for i in chosen]
    return Scored(
        tuple(row.path for row in rows), cache.labels(chosen), logits,
        tuple(row.generator for row in rows), tuple(row.split for row in rows),
    )  # fmt: skip


def held_out_rows(loaded: LoadedHead, cache: FeatureCache, share: float, seed: int, split: str) -> np.ndarray:
    """The rows of the training generators that fitting held out.

    Raises:
        UsageError: the cache holds none.
    """
    chosen = cache.select(split=split, generators=loaded.manifest.training.generators)
    held = np.array([i for i in chosen if is_held_out(cache.rows[i].content, share, seed)], dtype=np.int64)
    if not len(held):
        raise UsageError(
            f"{cache.folder} holds none of the images held out in fitting; extract the training data first"
        )
    return held


def evaluate(loaded: LoadedHead, scored: Scored, resamples: int = 1000, seed: int = 0) -> Evaluation:
    """Figures per generator and split, and their means."""
    manifest = loaded.manifest
    groups = tuple(
        GroupFigures(generator, split, generator in manifest.training.generators,
                     binary_metrics(*scored.of(generator, split), manifest.calibration, resamples, seed))
        for generator, split in scored.groups
    )  # fmt: skip

    def means(lines: list[GroupFigures]) -> dict[str, float]:
        return {name: mean_over([getattr(line.metrics, name) for line in lines]) for name in FIGURES}

    unseen = means([line for line in groups if not line.seen])
    return Evaluation(str(loaded.folder), manifest.calibration, groups, means(list(groups)), unseen)
