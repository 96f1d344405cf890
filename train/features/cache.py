"""The feature cache: sharded and resumable; written once, read by fitting, evaluation and every study.

Layout: ROOT/KEY/ holds `cache.json` (the `CacheSpec`) and shards `*.safetensors`. KEY is the hash of everything that
decides a feature's value, so another configuration has another folder and never reads features of this one. A shard is
renamed into place when it is complete: a killed extraction leaves no partial shard, and images that were in no shard
yet are extracted again. Tensors of a shard with n rows, R mask sets of K runs, M masked patches and encoder width D,
all float32:

    f_global [n, D]    sums [n, R, K, M, 3, 3]    context [n, R, K, 2, 2]     (`lcas.RunSums`)

The samples of the rows are JSON in the shard's metadata, so that one rename publishes both.
"""

from __future__ import annotations

import json
import logging
import sys
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from pydantic import ValidationError
from safetensors import SafetensorError, safe_open

from ...runtime.core.errors import UsageError
from ...runtime.core.manifest import MethodConfig
from ..data.generators import same_generators
from ..data.sample import Sample
from ..model.lcas import RunSums, lcas_from_sums, statistics
from .cache_spec import SPEC_FILE, CacheSpec, find_caches, no_cache

log = logging.getLogger("cinemae.train")

ROWS_KEY = "cinemae.rows"
TENSORS = ("f_global", "sums", "context")


@dataclass(frozen=True)
class Features:
    """Features of n rows.

    Attributes:
        f_global: feature of the unmasked pass [Eq. 3], as the cache's `CacheSpec.f_global` says, float32 [n, D].
        sums: of every masked patch, `lcas.RunSums.sums`, float32 [n, R, K, M, 3, 3].
        context: of every run, `lcas.RunSums.context`, float32 [n, R, K, 2, 2].
        pixels: number of pixels of a patch, P / 3.
    """

    f_global: np.ndarray
    sums: np.ndarray
    context: np.ndarray
    pixels: int

    def lcas(self, method: MethodConfig) -> np.ndarray:
        """LCAS of every masked patch in the first `method.k` runs [Eq. 4, 5]: float32 [n, R, K, M]."""
        sums, context = torch.from_numpy(self.sums[:, :, : method.k]), torch.from_numpy(self.context[:, :, : method.k])
        lead = sums.shape[:3]
        run = RunSums(sums.flatten(0, 2), context.flatten(0, 2))
        return lcas_from_sums(run, self.pixels, method).unflatten(0, lead).numpy()

    def stats(self, method: MethodConfig) -> np.ndarray:
        """s1, s2, s3 of every mask set under `method` [Eq. 6]: float32 [n, R, 3]."""
        lcas = torch.from_numpy(self.lcas(method))
        return statistics(lcas.flatten(0, 1)).unflatten(0, lcas.shape[:2]).numpy()


class FeatureCache:
    """Reads one cache folder: its rows, each once, and their features shard by shard.

    Of several rows for the same path, generator, split and view, only the newest is kept: the file or its label had
    changed. Of several rows with the same `Sample.identity`, only the first path is kept. Rows are ordered by split,
    generator, label, path and view.

    Args:
        folder: of the cache.
        samples: keep the rows of these samples alone; None keeps all rows, also those of files that were moved to
            another split or deleted since, and is for no fit.

    Attributes:
        spec: of the features.
        rows: the cached views that were kept.
        views: of each sample, without its view, the number of cached views; of files with the same bytes, all count.
    """

    def __init__(self, folder: Path, samples: Iterable[Sample] | None) -> None:
        self.folder = folder
        listed = None if samples is None else frozenset(samples)
        self.spec = read_spec(folder)
        newest: dict[tuple[str, str, str, int], tuple[Sample, int, int]] = {}
        self.shards: list[Path] = []
        for path in sorted(folder.glob("*.safetensors")):
            rows = read_rows(path)
            if rows is None:
                continue
            for index, row in enumerate(rows):
                if listed is None or row.listed in listed:
                    newest[row.path, row.generator, row.split, row.view] = (row, len(self.shards), index)
            self.shards.append(path)
        self.views = Counter(row.listed for row, _, _ in newest.values())
        ordered = sorted(newest.values(), key=lambda e: (e[0].split, e[0].generator, e[0].label, e[0].path, e[0].view))
        unique: dict[tuple[int | str, ...], tuple[Sample, int, int]] = {}
        for entry in ordered:
            unique.setdefault(entry[0].identity, entry)
        self.rows = [row for row, _, _ in unique.values()]
        self.where = np.array([(shard, at) for _, shard, at in unique.values()], dtype=np.int64).reshape(-1, 2)

    def __len__(self) -> int:
        return len(self.rows)

    def select(self, *, split: str | None = None, generators: Collection[str] = ()) -> np.ndarray:
        """Indices of the rows that match everything given, ascending: int64 [n]. Generators match in any spelling."""
        if generators:
            generators, _ = same_generators(generators, {row.generator for row in self.rows})
        chosen = [
            i for i, row in enumerate(self.rows)
            if (split is None or row.split == split) and (not generators or row.generator in generators)
        ]
        return np.array(chosen, dtype=np.int64)

    def labels(self, chosen: np.ndarray) -> np.ndarray:
        """int64 [n] of the chosen rows: 1 AI, 0 real."""
        return np.array([self.rows[i].label for i in chosen], dtype=np.int64)

    def batches(self, chosen: np.ndarray) -> Iterator[tuple[np.ndarray, Features]]:
        """Features of the chosen rows, one shard at a time: positions in `chosen` int64 [m], and their features."""
        order = np.argsort(self.where[chosen, 0], kind="stable")
        shards, starts = np.unique(self.where[chosen[order], 0], return_index=True)
        for shard, positions in zip(shards, np.split(order, starts[1:]), strict=True):
            yield positions, self._read(self.shards[shard], self.where[chosen[positions], 1])

    def _read(self, path: Path, indices: np.ndarray) -> Features:
        with safe_open(path, framework="np") as file:
            f_global, sums, context = (file.get_tensor(name)[indices] for name in TENSORS)
        return Features(f_global, sums, context, self.spec.backbone.config.patch_values // 3)


def read_spec(folder: Path) -> CacheSpec:
    """Read the spec of a cache folder.

    Raises:
        UsageError: `folder` is no cache, or another release wrote it.
    """
    path = folder / SPEC_FILE
    try:
        return CacheSpec.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        raise UsageError(
            f"{folder} is no feature cache; make a cache with: cinemae-train extract DATA --cache {folder}"
        ) from None
    except ValidationError as error:
        raise UsageError(
            f"{path} is damaged or of another release ({error.error_count()} errors); delete the folder"
        ) from None


def read_rows(shard: Path) -> list[Sample] | None:
    """Read the rows of a shard; None, with a warning, where the file is damaged: its images are extracted again."""
    try:
        with safe_open(shard, framework="np") as file:
            rows = [Sample(*values) for values in json.loads(file.metadata()[ROWS_KEY])]
        # A million rows name a handful of generators: one string each, not one a row.
        return [row._replace(generator=sys.intern(row.generator), split=sys.intern(row.split)) for row in rows]
    except (SafetensorError, OSError, ValueError, TypeError, KeyError) as error:
        log.warning("ignored: the cache shard %s is damaged (%s); delete it", shard, error)
        return None


def open_cache(
    root: Path, augment: str | None = None, key: str | None = None, split: str | None = None
) -> FeatureCache:
    """The cache under `root` that matches `augment` and the start of `key`; of several, the cache that has `split`.

    Raises:
        UsageError: none or several match; lists what is there.
    """
    specs: dict[Path, CacheSpec] = {}
    for folder in find_caches(root):
        try:
            specs[folder] = read_spec(folder)
        except UsageError as error:
            log.warning("ignored: %s", error)
    if not specs:
        raise UsageError(no_cache(root))
    fits = [f for f, spec in specs.items() if augment in (None, spec.augment) and spec.key.startswith(key or "")]
    if len(fits) == 1:
        return FeatureCache(fits[0], None)
    opened = [cache for cache in (FeatureCache(fit, None) for fit in fits) if split and len(cache.select(split=split))]
    if len(opened) == 1:
        return opened[0]
    asked = {"--augment": augment, "--key": key, "split": split}
    text = " ".join(f"{name} {value}" for name, value in asked.items() if value) or "the command"
    listed = "; ".join(spec.describe() for spec in specs.values())
    count = "several caches" if len(fits) > 1 else "no cache"
    raise UsageError(f"{count} under {root} match {text}; choose with --key (its start is enough): {listed}")
