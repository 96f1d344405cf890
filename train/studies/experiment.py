"""What every study starts from: a filled cache, who is trained on, who only reports, and how heads are fitted."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from ...runtime.errors import UsageError
from ...runtime.manifest import HeadConfig, MethodConfig
from ..data.samples import Sample
from ..features.cache import FeatureCache
from ..fitting.fit import FitConfig, training_rows

TRAINING_CHOICE = ("stable_diffusion_v_1_4", "progan")
"""The paper's training generators, taken where a data set has several with a training split."""


def choose_training(samples: Sequence[Sample], wanted: Sequence[str] | None) -> tuple[str, ...]:
    """The generators to train on: those asked for, the only ones with a training split, or the paper's.

    Raises:
        UsageError: none has a training split, or several have and none is the paper's.
    """
    names = sorted({sample.generator for sample in samples if sample.split == "train"})
    if wanted:
        by_name = {name.lower(): name for name in names}
        missing = [name for name in wanted if name.lower() not in by_name]
        if missing:
            there = ", ".join(names) or "none"
            raise UsageError(f"no training split of {', '.join(missing)}; there is one of: {there}")
        return tuple(sorted(by_name[name.lower()] for name in wanted))
    if len(names) == 1:
        return (names[0],)
    for choice in TRAINING_CHOICE:
        if found := [name for name in names if name.lower() == choice]:
            return (found[0],)
    if not names:
        raise UsageError("the data has no training split; studies fit heads and need one generator with a train folder")
    raise UsageError(f"several generators have a training split ({', '.join(names)}); choose with --train-on")


@dataclass(frozen=True)
class Experiment:
    """fit.generators and fit.split say what is trained on; everything outside that split is evaluated.

    report_only: generators on which nothing is ever chosen; their mean stands apart in every table.
    seeds: heads fitted for every figure; tables give the mean over them.
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
        """Rows to train on and to hold out, int64 each."""
        return training_rows(self.cache, self.fit)

    @cached_property
    def eval_rows(self) -> np.ndarray:
        """Rows outside the training split, of generators with both classes: int64 [n].

        Raises:
            UsageError: there are none.
        """
        rows = self.cache.rows
        labels: dict[str, set[int]] = {}
        for row in rows:
            if row.split != self.fit.split:
                labels.setdefault(row.generator, set()).add(row.label)
        both = {name for name, found in labels.items() if len(found) == 2}
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
        """Those evaluated: trained on first, the reported-only last, by name in between."""
        apart = set(self.report_only)
        names = set(self.eval_generators.tolist())
        return sorted(names, key=lambda name: (2 if name in apart else 1 - self.is_trained(name), name))

    def is_trained(self, name: str) -> bool:
        """Whether a generator was trained on; data sets spell the same one as progan and ProGAN."""
        return name.lower() in {trained.lower() for trained in self.fit.generators or ()}

    @cached_property
    def identity(self) -> dict[str, Any]:
        """What decides the figures of a study on this experiment."""
        contents = hashlib.sha256()
        for row in self.cache.rows:
            contents.update(f"{row.content}{row.label}{row.generator}{row.split}\n".encode())
        return {
            "cache": self.cache.spec.key, "rows": contents.hexdigest(), "method": self.method.model_dump(),
            "fit": vars(self.fit), "report_only": self.report_only, "seeds": self.seeds, "head": self.head.model_dump(),
        }  # fmt: skip
