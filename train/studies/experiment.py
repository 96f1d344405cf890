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

from ...runtime.core.errors import ImageError, UsageError
from ...runtime.core.manifest import Backbone, HeadConfig, MethodConfig
from ..calibration.scores import Scores
from ..compute import choose_device, choose_precision
from ..data.generators import canonical, same_generators
from ..data.sample import Sample
from ..data.samples import thin
from ..data.skipped import SHOWN_SKIPS, Skipped, skip
from ..features.cache import FeatureCache
from ..features.cache_spec import CacheSpec
from ..features.extract import extract, preprocess_for
from ..fitting.examples import training_rows
from ..fitting.fit_config import FitConfig
from ..model.mae import MaskedAutoencoder
from ..reporting.published import REPORTED
from ..weights.load import load_backbone
from ..weights.timm_encoder import describe_encoder
from .budget import Budget
from .choices import training_generators


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """The argument of every study; `dataclasses.replace` makes variants. Features are extracted on reading.

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
        global_encoder: gives f_global instead of the backbone, as `weights.timm_encoder` takes it.
        augment: what is done to the images, a name of `transforms.TRANSFORMS`.
        batch_size: images in a batch of the network.
        workers: threads that decode images.
        device: where the network runs.
        quiet: show no progress.
        skipped: files that have become unreadable since their features were cached; variants share the list.
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
    global_encoder: str | None = None
    augment: str = "none"
    batch_size: int = 32
    workers: int = 2
    device: torch.device = field(default_factory=lambda: choose_device("auto"))
    quiet: bool = False
    skipped: Skipped = field(default_factory=list)

    def skip(self, path: str, error: ImageError) -> None:
        """Leave out a file; of all passes of all studies, the first files are named in the log, each once."""
        if len(self.skipped) <= SHOWN_SKIPS and all(path != known for known, _ in self.skipped):
            skip(self.skipped, path, str(error))

    @property
    def used(self) -> list[Sample]:
        """The samples, of the training split those of the generators trained on alone."""
        trained = self.fit.generators
        return [s for s in self.samples if s.split != self.fit.split or s.generator in trained]

    @cached_property
    def thinned(self) -> Experiment:
        """The experiment of the studies that run the network: as many samples as the budget allows."""
        train, test = ([s for s in self.used if (s.split == self.fit.split) == trained] for trained in (True, False))
        return replace(self, samples=thin(train, self.budget.train_limit) + thin(test, self.budget.limit))

    @property
    def trainable(self) -> tuple[str, ...]:
        """The generators of the data that have a training split."""
        return training_generators(self.samples)

    @property
    def info(self) -> Backbone:
        """Source, shape, hash and licence of the weights."""
        return _info(self.backbone, self.global_encoder)

    @property
    def beside(self) -> Experiment | None:
        """The same experiment on the features of the budget's global encoder; None where there is none."""
        named = self.budget.global_encoder
        return replace(self, global_encoder=named, budget=replace(self.budget, global_encoder=None)) if named else None

    def load(self) -> MaskedAutoencoder:
        """Load the backbone; every call returns a new copy, which a study may train."""
        return load_backbone(self.backbone).mae

    @cached_property
    def cache(self) -> FeatureCache:
        """The features of the samples used; missing features are extracted."""
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
        tested = {(row.generator, row.label) for row in self.cache.rows if row.split != self.fit.split}
        both = {name for name, label in tested if (name, 1 - label) in tested}
        rows = enumerate(self.cache.rows)
        chosen = [i for i, row in rows if row.split != self.fit.split and row.generator in both]
        if not chosen:
            raise UsageError(f"no images of both classes outside split {self.fit.split!r} to evaluate on")
        return np.array(chosen, dtype=np.int64)

    def eval_scores(self, values: np.ndarray) -> Scores:
        """A value of each of `eval_rows`, float [n], with labels and generators."""
        generators = np.array([self.cache.rows[i].generator for i in self.eval_rows])
        return Scores(values, self.cache.labels(self.eval_rows), generators)

    @property
    def eval_parts(self) -> dict[str, np.ndarray]:
        """Positions in `eval_rows` of each generator and class, "NAME, AI" and "NAME, real": int64 [m]."""
        at = self.eval_scores(np.arange(len(self.eval_rows)))
        parts = {"AI": at.by_source(1), "real": at.by_source(0)}
        return {f"{name}, {word}": own[name] for name in self.generators for word, own in parts.items()}

    @property
    def generators(self) -> list[str]:
        """The evaluated generators by name: those trained on first, those that are only reported last."""
        apart, names = self.apart, {self.cache.rows[i].generator for i in self.eval_rows}
        return sorted(names, key=lambda name: (2 if name in apart else 1 - self.is_trained(name), name))

    @property
    def apart(self) -> list[str]:
        """The evaluated generators that are only reported."""
        return same_generators(self.report_only, {self.cache.rows[i].generator for i in self.eval_rows})[0]

    @property
    def averaged(self) -> list[str]:
        """The evaluated generators that means are over: without those only reported, unless all are."""
        apart = self.apart
        return [name for name in self.generators if name not in apart] or self.generators

    def marked(self, name: str) -> str:
        """The name of a generator, with a mark where it is only reported."""
        return name if name in self.averaged else f"{name}{REPORTED}"

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
def _info(backbone: str, global_encoder: str | None) -> Backbone:
    beside = describe_encoder(global_encoder) if global_encoder else None
    return load_backbone(backbone).info.model_copy(update={"global_encoder": beside})
