"""The data and weights of the studies, extracted into the feature cache for the main experiment and for variants."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import torch

from ...runtime.core.manifest import Backbone, HeadConfig, MethodConfig
from ..compute import choose_device, choose_precision
from ..data.sample import Sample
from ..data.samples import thin
from ..features.cache import FeatureCache
from ..features.cache_spec import CacheSpec
from ..features.extract import extract, preprocess_for
from ..fitting.fit_config import FitConfig
from ..model.mae import MaskedAutoencoder
from ..weights.load import load_backbone
from .choices import choose_training
from .experiment import Experiment


@dataclass(frozen=True)
class StudyData:
    """Labelled files, weights, and how features are extracted and heads are fitted.

    Attributes:
        samples: all samples of the data; `used` are those that the studies read.
        backbone: weights with encoder and decoder: file, folder or Hugging Face id.
        root: folder of all feature caches.
        fit: recipe of the heads; its `generators` are trained on.
        method: method configuration.
        report_only: generators on which nothing is ever chosen.
        seeds: number of heads fitted for every figure.
        limit: images of each generator, split and class on which the studies test that extract features or train the
            network themselves; 0 is all.
        train_limit: the same for the images that they train on.
        batch_size: images in a batch of the network.
        workers: threads that decode images.
        device: where the network runs; None is a GPU where there is one.
        quiet: show no progress.
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
    ) -> StudyData:
        """Choose the generators to train on; arguments as the attributes.

        Args:
            train_on: names of generators, or "all"; None as `choose_training`.

        Raises:
            UsageError: as `choose_training`.
        """
        trained = choose_training(samples, train_on)
        return cls(tuple(samples), backbone, root, replace(fit, generators=trained), method or MethodConfig(),
                   tuple(report_only), seeds, limit, train_limit, batch_size, workers, device, quiet)

    @property
    def used(self) -> list[Sample]:
        """The samples, of the training split those of the generators trained on alone."""
        trained = self.fit.generators
        return [s for s in self.samples if s.split != self.fit.split or s.generator in trained]

    @cached_property
    def info(self) -> Backbone:
        """Source, shape, hash and licence of the weights."""
        return load_backbone(self.backbone).info

    def load(self) -> MaskedAutoencoder:
        """Load the backbone; every call returns a new one, which a study may train."""
        return load_backbone(self.backbone).mae

    def test_samples(self) -> list[Sample]:
        """The samples outside the training split, thinned to `limit`."""
        return thin([s for s in self.used if s.split != self.fit.split], self.limit)

    def train_samples(self) -> list[Sample]:
        """The samples to train on, thinned to `train_limit`."""
        return thin([s for s in self.used if s.split == self.fit.split], self.train_limit)

    @property
    def limits(self) -> dict[str, int]:
        """Both limits, for the key of a study."""
        return {"limit": self.limit, "train_limit": self.train_limit}

    def bounds(self) -> str:
        """The limits in words, for the note of a table; "" without limits."""
        parts = [(self.train_limit, "trained"), (self.limit, "tested")]
        said = [f"at most {limit:,} images of a class and generator {what} on" for limit, what in parts if limit]
        return f"{' and '.join(said).capitalize()}." if said else ""

    def fill(
        self, samples: Sequence[Sample] | None = None, *, method: MethodConfig | None = None, augment: str = "none"
    ) -> FeatureCache:
        """Extract what the cache lacks.

        Args:
            samples: the samples to extract; None is all that are used.
            method: gives the masks; None is the main method.
            augment: name of what is done to the images, of `transforms.TRANSFORMS`.

        Returns:
            The cache, limited to the samples.
        """
        chosen = self.used if samples is None else samples
        device = self.device or choose_device("auto")
        spec = CacheSpec.create(self.info, preprocess_for(self.info.config), method or self.method, augment=augment,
                                precision=choose_precision("auto", device))
        report = extract(chosen, self.load, spec, self.root, batch_size=self.batch_size, workers=self.workers,
                         device=device, quiet=self.quiet)
        return FeatureCache(report.folder, report.samples)

    def experiment(self, cache: FeatureCache | None = None, method: MethodConfig | None = None) -> Experiment:
        """An experiment on a cache, by default the main one, which is filled first."""
        return Experiment(cache or self.fill(), method or self.method, self.fit, self.report_only, self.seeds,
                     HeadConfig(), self.quiet)
