"""An experiment: a filled cache, the generators trained on and reported only, and the recipe of the heads."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from ...runtime.core.errors import UsageError
from ...runtime.core.manifest import HeadConfig, MethodConfig
from ..data.generators import canonical, same_generators
from ..features.cache import FeatureCache
from ..fitting.fit_config import FitConfig
from ..fitting.head_training import training_rows


@dataclass(frozen=True)
class Experiment:
    """Features, roles of the generators, and the recipe of the heads.

    Attributes:
        cache: the features.
        method: method configuration under which statistics are computed.
        fit: recipe of the heads. Its `generators` and `split` say what is trained on; everything outside that split is
            evaluated.
        report_only: generators on which nothing is ever chosen; their mean stands apart in every table.
        seeds: number of heads fitted for every figure; tables give their mean.
        head: configuration of the full head.
        quiet: show no progress.
    """

    cache: FeatureCache
    method: MethodConfig
    fit: FitConfig
    report_only: tuple[str, ...] = ()
    seeds: int = 1
    head: HeadConfig = field(default_factory=HeadConfig)
    quiet: bool = False

    @cached_property
    def rows(self) -> tuple[np.ndarray, np.ndarray]:
        """Row indices to train on and to hold out: int64 [n], int64 [m]."""
        return training_rows(self.cache, self.fit)

    @cached_property
    def eval_rows(self) -> np.ndarray:
        """Row indices outside the training split, of generators that have both classes there: int64 [n].

        Raises:
            UsageError: there are none.
        """
        rows = self.cache.rows
        labels: dict[str, set[int]] = {}
        for row in rows:
            if row.split != self.fit.split:
                labels.setdefault(row.generator, set()).add(row.label)
        both = {name for name, present in labels.items() if len(present) == 2}
        chosen = [i for i, row in enumerate(rows) if row.split != self.fit.split and row.generator in both]
        if not chosen:
            raise UsageError(f"no images of both classes outside split {self.fit.split!r} to evaluate on")
        return np.array(chosen, dtype=np.int64)

    @cached_property
    def eval_labels(self) -> np.ndarray:
        """int64 [n] of `eval_rows`."""
        return self.cache.labels(self.eval_rows)

    @cached_property
    def eval_generators(self) -> np.ndarray:
        """Generator of each of `eval_rows`: str [n]."""
        return np.array([self.cache.rows[i].generator for i in self.eval_rows])

    @property
    def generators(self) -> list[str]:
        """The evaluated generators by name: those trained on first, those that are only reported last."""
        apart = self.apart
        names = set(self.eval_generators.tolist())
        return sorted(names, key=lambda name: (2 if name in apart else 1 - self.is_trained(name), name))

    @property
    def apart(self) -> list[str]:
        """The evaluated generators that are only reported."""
        return same_generators(self.report_only, self.eval_generators.tolist())[0]

    def is_trained(self, name: str) -> bool:
        """Whether a generator, in any spelling, was trained on."""
        return canonical(name) in map(canonical, self.fit.generators)

    @cached_property
    def identity(self) -> dict[str, Any]:
        """Everything that decides the figures of a study on this experiment."""
        contents = hashlib.sha256()
        for row in self.cache.rows:
            contents.update(f"{row.content}{row.label}{row.generator}{row.split}\n".encode())
        return {
            "cache": self.cache.spec.key, "rows": contents.hexdigest(), "method": self.method.model_dump(),
            "fit": asdict(self.fit), "report_only": self.report_only, "seeds": self.seeds,
            "head": self.head.model_dump(),
        }
