"""An experiment: labelled images, weights, roles of the generators, and the recipe of the heads that are compared."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ...runtime.core.errors import UsageError
from ...runtime.core.manifest import Backbone, HeadConfig, MethodConfig
from ..compute import choose_device, choose_precision
from ..data.generators import canonical, same_generators
from ..data.sample import Sample
from ..data.samples import thin
from ..features.cache import FeatureCache
from ..features.cache_spec import CacheSpec
from ..features.extract import extract, preprocess_for
from ..fitting.examples import training_rows
from ..fitting.fit_config import FitConfig
from ..model.mae import MaskedAutoencoder
from ..weights.load import load_backbone
from .budget import Budget
from .choices import training_generators


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """What every study takes; `dataclasses.replace` makes its variants. Features are extracted when they are read.

    Attributes:
        samples: all samples of the data; `used` are those that are read.
        backbone: weights with encoder and decoder: file, folder or Hugging Face id.
        root: folder of all feature caches.
        fit: recipe of the heads. Its `generators` and `split` say what is trained on; everything outside that split is
            evaluated.
        method: gives the masks, and the constants under which statistics are computed.
        head: configuration of the full head.
        budget: limits of the studies that train or run the network.
        report_only: generators on which nothing is ever chosen; their mean stands apart in every table.
        seeds: number of heads fitted for every figure; tables give their mean.
        augment: what is done to the images, a name of `transforms.TRANSFORMS`.
        batch_size: images in a batch of the network.
        workers: threads that decode images.
        device: where the network runs.
        quiet: show no progress.
    """

    samples: Sequence[Sample]
    backbone: str
    root: Path
    fit: FitConfig
    method: MethodConfig = field(default_factory=MethodConfig)
    head: HeadConfig = field(default_factory=HeadConfig)
    budget: Budget = field(default_factory=Budget)
    report_only: tuple[str, ...] = ()
    seeds: int = 1
    augment: str = "none"
    batch_size: int = 32
    workers: int = 2
    device: torch.device = field(default_factory=lambda: choose_device("auto"))
    quiet: bool = False

    @property
    def used(self) -> list[Sample]:
        """The samples, of the training split those of the generators trained on alone."""
        trained = self.fit.generators
        return [s for s in self.samples if s.split != self.fit.split or s.generator in trained]

    @cached_property
    def thinned(self) -> Experiment:
        """The experiment of the studies that run the network: as many samples as the budget allows."""
        parts: tuple[list[Sample], list[Sample]] = [], []
        for sample in self.used:
            parts[sample.split != self.fit.split].append(sample)
        train, test = thin(parts[0], self.budget.train_limit), thin(parts[1], self.budget.limit)
        return replace(self, samples=train + test)

    @property
    def info(self) -> Backbone:
        """Source, shape, hash and licence of the weights."""
        return _info(self.backbone)

    @property
    def trainable(self) -> tuple[str, ...]:
        """The generators of the data that have a training split."""
        return training_generators(self.samples)

    def load(self) -> MaskedAutoencoder:
        """Load the backbone; every call returns a new one, which a study may train."""
        return load_backbone(self.backbone).mae

    @cached_property
    def cache(self) -> FeatureCache:
        """The features of the samples used; what the cache lacks is extracted."""
        spec = CacheSpec.create(self.info, preprocess_for(self.info.config), self.method, augment=self.augment,
                                precision=choose_precision("auto", self.device))
        report = extract(self.used, self.load, spec, self.root, batch_size=self.batch_size, workers=self.workers,
                         device=self.device, quiet=self.quiet)
        return FeatureCache(report.folder, report.samples)

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
    def eval_parts(self) -> dict[str, np.ndarray]:
        """Which of `eval_rows` are of each generator and class, "NAME, AI" and "NAME, real": bool [n]."""
        return {
            f"{name}, {word}": (self.eval_generators == name) & (self.eval_labels == label)
            for name in self.generators for label, word in ((1, "AI"), (0, "real"))
        }

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


@cache
def _info(backbone: str) -> Backbone:
    return load_backbone(backbone).info
