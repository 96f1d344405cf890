"""Write the feature cache: rows are collected and published shard by shard."""

from __future__ import annotations

import json
import secrets
import time
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from ...runtime.core.files import atomic_path, write_text
from ..data.sample import Sample
from .cache import ROWS_KEY, TENSORS
from .cache_spec import SPEC_FILE, CacheSpec


class CacheWriter:
    """Collects rows and writes them as shards; any number of writers may fill one folder at the same time.

    Args:
        root: of the cache.
        spec: decides the folder under `root`.
        shard_rows: rows after which a shard is written.
        shard_seconds: age of the oldest collected row at which a shard is written.
    """

    def __init__(self, root: Path, spec: CacheSpec, shard_rows: int = 512, shard_seconds: float = 60.0) -> None:
        self.folder, self.shard_rows, self.shard_seconds = root / spec.key, shard_rows, shard_seconds
        self.rows: list[Sample] = []
        self.tensors: list[tuple[np.ndarray, ...]] = []
        self.opened = time.monotonic()
        if not (self.folder / SPEC_FILE).exists():
            write_text(self.folder / SPEC_FILE, spec.model_dump_json(indent=1))

    def add(self, row: Sample, f_global: np.ndarray, sums: np.ndarray, context: np.ndarray) -> None:
        """Add one view.

        Args:
            row: its sample, content and view.
            f_global: float32 [D].
            sums: float32 [R, K, M, 3, 3].
            context: float32 [R, K, 2, 2].
        """
        self.rows.append(row)
        self.tensors.append((f_global, sums, context))
        if len(self.rows) >= self.shard_rows or time.monotonic() - self.opened > self.shard_seconds:
            self.flush()

    def flush(self) -> None:
        """Write the collected rows as a shard; they are on disk when this returns."""
        if self.rows:
            columns = zip(*self.tensors, strict=True)
            tensors = {name: np.stack(column) for name, column in zip(TENSORS, columns, strict=True)}
            rows = json.dumps(self.rows, ensure_ascii=True)
            # The name orders shards by age, and its random part keeps several writers apart.
            with atomic_path(self.folder / f"{time.time_ns():020d}-{secrets.token_hex(4)}.safetensors") as temporary:
                save_file(tensors, temporary, metadata={ROWS_KEY: rows})
        self.rows, self.tensors, self.opened = [], [], time.monotonic()
