"""Examples of a head: cached features in memory, of images to train on and of images to hold out."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ...runtime.core.errors import UsageError
from ...runtime.core.manifest import MethodConfig
from ...runtime.core.masks import masked_from_visible
from ..calibration.scores import Scores
from ..data.generators import same_generators
from ..data.sample import Sample
from ..features.cache import FeatureCache
from ..model.head import Head
from ..model.lcas import patch_map
from .fit_config import FitConfig

SCORE_BATCH = 4096


@dataclass(frozen=True)
class Examples:
    """Inputs and targets of a head.

    Attributes:
        f_global: float32 [n, D].
        stats: s1, s2, s3 under each of the R mask sets, the deployed set first, float32 [n, R, 3].
        labels: 1 AI-generated, 0 real, float32 [n].
        rows: the cached view behind each example; empty where nothing asks for it.
        tiers: name of each view where views are tiers of delivery, each of which is a source; else empty.
    """

    f_global: Tensor
    stats: Tensor
    labels: Tensor
    rows: tuple[Sample, ...] = ()
    tiers: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def sources(self) -> np.ndarray:
        """Generator of each example, str [n]; a name that both classes share stands for two sources."""
        return np.array([row.generator for row in self.rows])

    @property
    def first_views(self) -> np.ndarray:
        """Which examples are the first view of their image, bool [n]: several views are no more images."""
        return np.array([row.view == 0 for row in self.rows], dtype=bool)

    @property
    def measured(self) -> np.ndarray:
        """Which examples a calibration measures, bool [n]: the first view of an image, or all tiers of it."""
        return np.ones(len(self), dtype=bool) if self.tiers else self.first_views

    @property
    def deployed(self) -> Tensor:
        """The statistics under the deployed masks, float32 [n, 3]."""
        return self.stats[:, 0]

    def take(self, chosen: np.ndarray) -> Examples:
        """The examples where bool [n] holds."""
        at = torch.from_numpy(np.flatnonzero(chosen))
        rows = tuple(self.rows[i] for i in at.tolist()) if self.rows else ()
        return Examples(self.f_global[at], self.stats[at], self.labels[at], rows, self.tiers)

    def joined(self, other: Examples) -> Examples:
        """These examples, then those of `other`."""
        f_global, stats = torch.cat([self.f_global, other.f_global]), torch.cat([self.stats, other.stats])
        return Examples(f_global, stats, torch.cat([self.labels, other.labels]), self.rows + other.rows, self.tiers)

    def logits(self, head: Head) -> np.ndarray:
        """Raw logits of a head under the deployed masks, float32 [n]."""
        return logits_of(head, self.f_global, self.deployed).numpy()

    def scores(self, logits: np.ndarray) -> Scores:
        """Logits of these examples, float32 [n], with labels and sources; a tier of a source is a source."""
        splits = np.array([row.split for row in self.rows])
        tiers = self.tiers or ("",) * (1 + max((row.view for row in self.rows), default=0))
        sources = np.array([", ".join(filter(None, (row.generator, tiers[row.view]))) for row in self.rows])
        return Scores(logits, self.labels.numpy().astype(np.int64), sources, splits)


def read_examples(cache: FeatureCache, rows: np.ndarray, *methods: MethodConfig) -> list[Examples]:
    """Read the rows, int64 [n], into memory, with the statistics of each method in turn: one pass over the shards."""
    f_global = np.empty((len(rows), cache.spec.backbone.dim), np.float32)
    stats = [np.empty((len(rows), len(cache.spec.visible), 3), np.float32) for _ in methods]
    for positions, features in cache.batches(rows):
        f_global[positions] = features.f_global
        for one, method in zip(stats, methods, strict=True):
            one[positions] = features.stats(method)
    shared, labels = torch.from_numpy(f_global), torch.from_numpy(cache.labels(rows)).float()
    kept = tuple(cache.rows[i] for i in rows)
    return [Examples(shared, torch.from_numpy(one), labels, kept, cache.spec.tiers) for one in stats]


def read_maps(cache: FeatureCache, rows: np.ndarray, method: MethodConfig) -> np.ndarray:
    """LCAS of the rows under the deployed masks: float32 [n, N], NaN where a patch was never masked."""
    patches = cache.spec.backbone.config.n_patches
    masked = torch.from_numpy(masked_from_visible(cache.spec.mask_sets()[0, : method.k], patches))
    maps = np.empty((len(rows), patches), np.float32)
    for positions, features in cache.batches(rows):
        maps[positions] = patch_map(torch.from_numpy(features.lcas(method)[:, 0]), masked, patches).numpy()
    return maps


@torch.inference_mode()
def logits_of(head: Head, f_global: Tensor, stats: Tensor) -> Tensor:
    """Raw logits, computed in slices: f_global float32 [n, D], stats float32 [n, 3] -> float32 [n]."""
    slices = zip(f_global.split(SCORE_BATCH), stats.split(SCORE_BATCH), strict=True)
    return torch.cat([head(f, s) for f, s in slices])


def source_weights(labels: np.ndarray, sources: np.ndarray) -> np.ndarray:
    """Weights that give both classes, and within a class all its sources, the same total: float32 [n], mean 1."""
    weights = np.empty(len(labels), np.float64)
    for label in (0, 1):
        names = np.unique(sources[labels == label])
        for name in names:
            chosen = (labels == label) & (sources == name)
            weights[chosen] = len(labels) / 2 / len(names) / chosen.sum()
    return weights.astype(np.float32)


def is_held_out(content: str, share: float, seed: int) -> bool:
    """Whether an image belongs to the held-out share, by its bytes: copies and augmented views stay together.

    Args:
        content: hex SHA-256 of the file.
        share: of images to hold out, in [0, 1].
        seed: another seed holds out other images.
    """
    digest = hashlib.sha256(f"{seed}:{content}".encode()).digest()
    return int.from_bytes(digest[:8], "big") < share * 2**64


def training_rows(cache: FeatureCache, config: FitConfig) -> tuple[np.ndarray, np.ndarray]:
    """Choose the rows to train on and to hold out, of the training generators alone.

    Returns:
        two arrays of row indices, int64.

    Raises:
        UsageError: an unknown generator, no row of the split, or a class is missing on either side.
    """
    generators = config.generators
    chosen = cache.select(split=config.split, generators=generators)
    there = {row.generator for row in cache.rows}
    if generators and (unknown := same_generators(generators, there)[1]):
        raise UsageError(f"the cache holds no generator {', '.join(unknown)}; there are: {', '.join(sorted(there))}")
    splits = ", ".join(sorted({row.split for row in cache.rows}))
    if config.split not in splits.split(", "):
        raise UsageError(
            f"no image of split {config.split!r} was extracted; there are: {splits}. In a list, a column split says "
            "which images are for training (all are test without it); in folders, a folder train does. Extract again "
            "with it or with --test-share 0.1, or fit on another split with --split"
        )
    held = np.array([is_held_out(cache.rows[i].content, config.held_out, config.seed) for i in chosen], dtype=bool)
    for rows, what in ((chosen[~held], "to train on"), (chosen[held], "to hold out")):
        n_ai = int(cache.labels(rows).sum())
        if n_ai in (0, len(rows)):
            raise UsageError(
                f"split {config.split!r} has {n_ai} AI and {len(rows) - n_ai} real images {what}, both are needed "
                f"(splits in the cache: {splits}; more data, or another --held-out, may help)"
            )
    return chosen[~held], chosen[held]
