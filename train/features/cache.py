"""The feature cache: sharded, memory-mapped, resumable; written once, read by fitting, evaluation and every study.

Layout: ROOT/KEY/ holds `cache.json` (the `CacheSpec`) and shards `*.safetensors`. KEY is the hash of everything that
decides what a feature is, so a changed configuration lands in another folder and never meets stale features. A shard
appears by one rename, complete: a killed extraction leaves no half shard, and what it had not yet renamed is extracted
again. Tensors of a shard with n rows, R mask sets of K runs, M masked patches, encoder width D, all float32:

    f_global [n, D]    sums [n, R, K, M, 3, 3]    context [n, R, K, 2, 2]     (`lcas.RunSums`)

The rows' samples are JSON in the shard's metadata, so that one rename makes both visible.
"""

from __future__ import annotations

import json
import logging
import secrets
import sys
import time
from collections.abc import Container, Iterable, Iterator
from dataclasses import astuple, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from ...runtime.atomic import atomic_path, write_text
from ...runtime.errors import UsageError
from ...runtime.manifest import MethodConfig
from ..data.generators import same_generators
from ..model.lcas import RunSums, lcas_from_sums, statistics
from .cache_spec import CacheSpec

log = logging.getLogger("cinemae.train")

SPEC_FILE = "cache.json"
ROWS_KEY = "cinemae.rows"
TENSORS = ("f_global", "sums", "context")


@dataclass(frozen=True, slots=True)
class Row:
    """One cached view of one sample. `path` is absolute; `content`: SHA-256 of the file; width, height: native."""

    path: str
    label: int
    generator: str
    split: str
    content: str
    view: int
    width: int
    height: int
    size: int
    mtime_ns: int

    @property
    def identity(self) -> tuple[str, int, str, str, int]:
        """What makes a row a duplicate of another: the same bytes in the same class, generator and split."""
        return self.content, self.label, self.generator, self.split, self.view


@dataclass(frozen=True)
class Features:
    """float32: f_global [n, D], sums [n, R, K, M, 3, 3], context [n, R, K, 2, 2]; a patch holds `pixels` pixels."""

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
        """s1..s3 of every mask set under `method` [Eq. 6]: float32 [n, R, 3]."""
        lcas = torch.from_numpy(self.lcas(method))
        return statistics(lcas.flatten(0, 1)).unflatten(0, lcas.shape[:2]).numpy()


class FeatureCache:
    """The readable side of one cache folder: its rows, each once, and their features shard by shard.

    Where a path was extracted again for a generator's split, because the file or its label had changed, the newer row
    counts; of rows with the same identity, the first path counts. Rows are ordered by split, generator, label, path
    and view, however they were extracted. `known` holds the newest rows of every path, those that repeat another path's
    bytes included. `paths`, absolute, limits the cache to those files.
    """

    def __init__(self, folder: Path, paths: Container[str] | None = None) -> None:
        self.folder = folder
        self.spec = read_spec(folder)
        newest: dict[tuple[str, str, str, int], tuple[Row, int, int]] = {}
        self.shards: list[Path] = []
        for path in sorted(folder.glob("*.safetensors")):
            rows = read_rows(path)
            if rows is None:
                continue
            for index, row in enumerate(rows):
                if paths is None or row.path in paths:
                    newest[row.path, row.generator, row.split, row.view] = (row, len(self.shards), index)
            self.shards.append(path)
        self.known: dict[str, list[Row]] = {}
        for row, _, _ in newest.values():
            self.known.setdefault(row.path, []).append(row)
        ordered = sorted(newest.values(), key=lambda e: (e[0].split, e[0].generator, e[0].label, e[0].path, e[0].view))
        unique: dict[tuple[str, int, str, str, int], tuple[Row, int, int]] = {}
        for entry in ordered:
            unique.setdefault(entry[0].identity, entry)
        ordered = list(unique.values())
        self.rows = [row for row, _, _ in ordered]
        self.where = np.array([(shard, index) for _, shard, index in ordered], dtype=np.int64).reshape(-1, 2)

    def __len__(self) -> int:
        return len(self.rows)

    def select(self, *, split: str | None = None, generators: Iterable[str] | None = None) -> np.ndarray:
        """Indices of the rows that match everything given, ascending: int64 [n]. Generators match in any spelling."""
        if generators is not None:
            generators, _ = same_generators(generators, {row.generator for row in self.rows})
        chosen = [
            i for i, row in enumerate(self.rows)
            if (split is None or row.split == split) and (generators is None or row.generator in generators)
        ]  # fmt: skip
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

    def compact(self, chosen: np.ndarray, method: MethodConfig) -> tuple[np.ndarray, np.ndarray]:
        """What a head reads: f_global float32 [n, D] and stats float32 [n, R, 3] of the chosen rows, in memory."""
        f_global = np.empty((len(chosen), self.spec.backbone.config.encoder_dim), np.float32)
        stats = np.empty((len(chosen), len(self.spec.visible), 3), np.float32)
        for positions, features in self.batches(chosen):
            f_global[positions], stats[positions] = features.f_global, features.stats(method)
        return f_global, stats


class CacheWriter:
    """Collects rows and writes them as shards. Any number of writers may fill one folder at once."""

    def __init__(self, root: Path, spec: CacheSpec, shard_rows: int = 512, shard_seconds: float = 60.0) -> None:
        self.folder, self.shard_rows, self.shard_seconds = root / spec.key, shard_rows, shard_seconds
        self.rows: list[Row] = []
        self.tensors: list[tuple[np.ndarray, ...]] = []
        self.opened = time.monotonic()
        if not (self.folder / SPEC_FILE).exists():
            write_text(self.folder / SPEC_FILE, spec.model_dump_json(indent=1))

    def add(self, row: Row, f_global: np.ndarray, sums: np.ndarray, context: np.ndarray) -> None:
        """Add one view: float32 [D], [R, K, M, 3, 3], [R, K, 2, 2]."""
        self.rows.append(row)
        self.tensors.append((f_global, sums, context))
        if len(self.rows) >= self.shard_rows or time.monotonic() - self.opened > self.shard_seconds:
            self.flush()

    def flush(self) -> None:
        """Write what is collected; after this returns it survives any kill."""
        if self.rows:
            columns = zip(*self.tensors, strict=True)
            tensors = {name: np.stack(column) for name, column in zip(TENSORS, columns, strict=True)}
            rows = json.dumps([astuple(row) for row in self.rows], ensure_ascii=True)
            # The name orders shards by age, and its random part keeps several writers apart.
            with atomic_path(self.folder / f"{time.time_ns():020d}-{secrets.token_hex(4)}.safetensors") as temporary:
                save_file(tensors, temporary, metadata={ROWS_KEY: rows})
        self.rows, self.tensors, self.opened = [], [], time.monotonic()


def read_spec(folder: Path) -> CacheSpec:
    """The spec of a cache folder.

    Raises:
        UsageError: no cache there, or one that another release wrote.
    """
    path = folder / SPEC_FILE
    try:
        return CacheSpec.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        raise UsageError(
            f"{folder} is no feature cache; make one with: cinemae-train extract DATA --cache {folder}"
        ) from None
    except ValidationError as error:
        raise UsageError(
            f"{path} is damaged or of another release ({error.error_count()} errors); delete the folder"
        ) from None


def _readable_spec(folder: Path) -> CacheSpec | None:
    try:
        return read_spec(folder)
    except UsageError as error:
        log.warning("ignored: %s", error)
        return None


def read_rows(shard: Path) -> list[Row] | None:
    """The samples of a shard, or None, with a warning, where the file is damaged: its images are extracted again."""
    try:
        with safe_open(shard, framework="np") as file:
            rows = [Row(*values) for values in json.loads(file.metadata()[ROWS_KEY])]
        # A million rows name a handful of generators: one string each, not one a row.
        return [replace(row, generator=sys.intern(row.generator), split=sys.intern(row.split)) for row in rows]
    except (SafetensorError, OSError, ValueError, TypeError, KeyError) as error:
        log.warning("ignored: the cache shard %s is damaged (%s); delete it", shard, error)
        return None


def find_caches(root: Path) -> list[Path]:
    """Cache folders under a root (or the root itself, when it is one), sorted."""
    if (root / SPEC_FILE).exists():
        return [root]
    return sorted(path.parent for path in root.glob(f"*/{SPEC_FILE}"))


def open_cache(
    root: Path, augment: str | None = None, key: str | None = None, split: str | None = None
) -> FeatureCache:
    """The one cache under `root` that matches `augment` and the start of `key`; of several, the one that has `split`.

    Raises:
        UsageError: none or several match; lists what is there.
    """
    caches = [(folder, spec) for folder in find_caches(root) if (spec := _readable_spec(folder))]
    if not caches:
        raise UsageError(f"no feature cache under {root}; make one with: cinemae-train extract DATA --cache {root}")
    fits = [folder for folder, spec in caches if augment in (None, spec.augment) and spec.key.startswith(key or "")]
    if len(fits) == 1:
        return FeatureCache(fits[0])
    opened = [cache for cache in map(FeatureCache, fits) if split and len(cache.select(split=split))]
    if len(opened) == 1:
        return opened[0]
    asked = {"--augment": augment, "--key": key, "split": split}
    text = " ".join(f"{name} {value}" for name, value in asked.items() if value) or "the command"
    listed = "".join(f"\n  {spec.describe()}" for _, spec in caches)
    count = "several caches" if len(fits) > 1 else "no cache"
    raise UsageError(f"{count} under {root} match {text}; choose with --key (its start is enough):{listed}")
