"""Groups of command line options, and how they become samples, devices and configurations."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ..runtime.errors import UsageError
from .data.generators import canonical
from .data.samples import Sample, read_samples
from .device import choose_device
from .features.cache_spec import CacheSpec
from .features.extract import ExtractReport, extract
from .model.mae import MaskedAutoencoder


@dataclass(frozen=True)
class SpecOptions:
    """Masks and augmentation of an extraction."""

    k: int
    mask_sets: int
    mask_strategy: str
    mask_seed: int
    augment: str
    views: int
    augment_seed: int


@dataclass(frozen=True)
class MethodOptions:
    """What may change in the method without another extraction."""

    k: int | None
    lambda_: float
    pixel_space: str
    stat_reduction: str
    fidelity_reduction: str


@dataclass(frozen=True)
class DataOptions:
    """Labelled data and which part of it."""

    roots: Sequence[Path]
    layout: str
    split: str | None
    generators: Sequence[str] | None

    def read(self) -> list[Sample]:
        """The samples of all roots, in their order."""
        return read_all(self.roots, self.layout, self.split, self.generators)


@dataclass(frozen=True)
class MachineOptions:
    """How to compute."""

    batch_size: int
    workers: int
    device: str
    quiet: bool

    def extract(
        self, samples: Sequence[Sample], backbone: Callable[[], MaskedAutoencoder], spec: CacheSpec, root: Path,
        shard: tuple[int, int] = (0, 1),
    ) -> ExtractReport:  # fmt: skip
        """`extract` on this machine."""
        return extract(samples, backbone, spec, root, shard=shard, batch_size=self.batch_size, workers=self.workers,
                       device=choose_device(self.device), quiet=self.quiet)  # fmt: skip


def checked(model: Any, **fields: Any) -> Any:
    """A configuration from options.

    Raises:
        UsageError: names each option that is wrong.
    """
    try:
        return model(**fields)
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise UsageError(problems) from None


def read_all(data: Sequence[Path], layout: str, split: str | None, generators: Sequence[str] | None) -> list[Sample]:
    """The samples of all DATA arguments, in their order; each generator is spelled as where it comes first."""
    samples = [s for root in data for s in read_samples(root, layout=layout, split=split, generators=generators)]
    spelling: dict[str, str] = {}
    return [replace(s, generator=spelling.setdefault(canonical(s.generator), s.generator)) for s in samples]
