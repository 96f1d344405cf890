"""The data and weights of the studies, extracted into the feature cache for the main experiment and for variants."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import torch

from ...runtime.manifest import Backbone, HeadConfig, MethodConfig
from ..audit.survey import thin
from ..data.samples import Sample
from ..features.augment import Transform
from ..features.cache import FeatureCache
from ..features.cache_spec import CacheSpec
from ..features.extract import extract, preprocess_for
from ..fitting.fit import FitConfig
from ..model.mae import MaskedAutoencoder
from ..weights.load import load_backbone
from .experiment import Experiment, choose_training


@dataclass(frozen=True)
class StudyData:
    """Everything a study may need: labelled files, weights, and where features are kept.

    limit, train_limit: images of each generator, split and class that the studies with forwards of their own test and
    train on; 0 is all.
    """

    samples: tuple[Sample, ...]
    backbone: str
    root: Path
    fit: FitConfig
    method: MethodConfig
    report_only: tuple[str, ...] = ()
    seeds: int = 1
    limit: int = 0
    train_limit: int = 0
    batch_size: int = 32
    workers: int = 2
    device: torch.device | None = None
    quiet: bool = False

    @classmethod
    def create(
        cls, samples: Sequence[Sample], backbone: str, root: Path, fit: FitConfig, *,
        train_on: Sequence[str] | None = None, report_only: Sequence[str] = (), seeds: int = 1, limit: int = 0,
        train_limit: int = 0, batch_size: int = 32, workers: int = 2, device: torch.device | None = None,
        quiet: bool = False, method: MethodConfig | None = None,
    ) -> StudyData:  # fmt: skip
        """Study data that keep, of the training split, only the generators trained on.

        Raises:
            UsageError: as `choose_training`.
        """
        trained = choose_training(samples, train_on)
        kept = tuple(s for s in samples if s.split != fit.split or s.generator in trained)
        return cls(kept, backbone, root, replace(fit, generators=trained), method or MethodConfig(), tuple(report_only),
                   seeds, limit, train_limit, batch_size, workers, device, quiet)  # fmt: skip

    @cached_property
    def info(self) -> Backbone:
        """What the weights are; loading them is left until a forward is needed."""
        return load_backbone(self.backbone).info

    def load(self) -> MaskedAutoencoder:
        """The backbone, anew: studies may train it."""
        return load_backbone(self.backbone).mae

    def test_samples(self) -> list[Sample]:
        """Those outside the training split, thinned to `limit`."""
        return thin([s for s in self.samples if s.split != self.fit.split], self.limit)

    def train_samples(self) -> list[Sample]:
        """Those of the training split, thinned to `train_limit`."""
        return thin([s for s in self.samples if s.split == self.fit.split], self.train_limit)

    @property
    def limits(self) -> dict[str, int]:
        """Both, for a study's key."""
        return {"limit": self.limit, "train_limit": self.train_limit}

    def bounds(self) -> str:
        """What the limits mean, for a table's note; "" without any."""
        parts = [(self.train_limit, "trained"), (self.limit, "tested")]
        said = [f"at most {limit:,} images of a class and generator {what} on" for limit, what in parts if limit]
        return f"{' and '.join(said).capitalize()}." if said else ""

    def fill(
        self, samples: Sequence[Sample] | None = None, *, method: MethodConfig | None = None, augment: str = "none",
        transform: Transform | None = None,
    ) -> FeatureCache:  # fmt: skip
        """The cache of these samples (default: all) under a variant, filled; what is there costs nothing."""
        chosen = self.samples if samples is None else samples
        spec = CacheSpec.create(self.info, preprocess_for(self.info.config), method or self.method, augment=augment)
        report = extract(chosen, self.load, spec, self.root, batch_size=self.batch_size, workers=self.workers,
                         device=self.device, transform=transform, quiet=self.quiet)  # fmt: skip
        return FeatureCache(report.folder, report.samples)

    def experiment(self, cache: FeatureCache | None = None, method: MethodConfig | None = None) -> Experiment:
        """The studies' starting point: on the main cache, or on a variant's."""
        return Experiment(cache or self.fill(), method or self.method, self.fit, self.report_only, self.seeds,
                     HeadConfig(), self.quiet)  # fmt: skip
