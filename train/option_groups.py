"""Groups of command-line options, and their conversion into samples, devices and configurations."""

from __future__ import annotations

import sys
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
from .precision import Precision, choose_precision


@dataclass(frozen=True)
class SpecOptions:
    """Masks and augmentation of an extraction; the options of `cinemae-train extract` by their names."""

    k: int
    mask_sets: int
    mask_strategy: str
    mask_seed: int
    augment: str
    views: int
    augment_seed: int
    decode: str = "full"
    f_global: str = "cls"


@dataclass(frozen=True)
class MethodOptions:
    """Constants of LCAS that may change without another extraction; fields as in `MethodConfig`."""

    k: int | None
    lambda_: float
    pixel_space: str
    stat_reduction: str
    fidelity_reduction: str


@dataclass(frozen=True)
class DataOptions:
    """Labelled data.

    Attributes:
        roots: folders and lists.
        layout: of the folders; auto finds out by itself.
        split: only this one; None: all.
        generators: only these; None: all.
    """

    roots: Sequence[Path]
    layout: str
    split: str | None
    generators: Sequence[str] | None

    def read(self) -> list[Sample]:
        """Read the samples of all roots, in their order."""
        return read_all(self.roots, self.layout, self.split, self.generators)


@dataclass(frozen=True)
class MachineOptions:
    """Resources of a computation.

    Attributes:
        batch_size: images in one forward pass.
        workers: threads that decode images.
        device: auto, cpu or cuda.
        quiet: show no progress.
        precision: auto, fp32, tf32, bf16 or fp16.
    """

    batch_size: int
    workers: int
    device: str
    quiet: bool
    precision: str = "auto"

    def chosen_precision(self) -> Precision:
        """The precision on the device; as `choose_precision`."""
        return choose_precision(self.precision, choose_device(self.device))

    def stage(self, text: str) -> None:
        """Say on stderr what takes a while before the first image."""
        if not self.quiet:
            print(f"{text} ...", file=sys.stderr, flush=True)

    def extract(
        self, samples: Sequence[Sample], backbone: Callable[[], MaskedAutoencoder], spec: CacheSpec, root: Path,
        shard: tuple[int, int] = (0, 1),
    ) -> ExtractReport:  # fmt: skip
        """Run `features.extract.extract` with these resources; `shard` as there."""
        return extract(samples, backbone, spec, root, shard=shard, batch_size=self.batch_size, workers=self.workers,
                       device=choose_device(self.device), quiet=self.quiet)  # fmt: skip


def checked(model: Any, **fields: Any) -> Any:
    """Make a configuration, a pydantic `model`, from the values of options.

    Raises:
        UsageError: a value is not allowed; the message names each such option.
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
