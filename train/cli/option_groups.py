"""Groups of command-line options, which refuse wrong values before torch is imported, and what they stand for."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ...runtime.core.errors import UsageError
from ...runtime.core.manifest import HeadConfig, MethodConfig, Preprocess
from ..compute import Precision, check_device, choose_device, choose_precision, named_precision
from ..data.sample import Sample
from ..data.samples import read_all
from ..data.transforms import check_augment
from ..features.cache_spec import CacheSpec
from .option_checks import checked

if TYPE_CHECKING:
    from ..features.extract import ExtractReport
    from ..model.mae import MaskedAutoencoder


@dataclass(frozen=True)
class SpecOptions:
    """Masks and augmentation of an extraction; the options of `cinemae-train extract` by their names.

    Raises:
        UsageError: a value is not allowed.
    """

    k: int
    mask_sets: int
    mask_strategy: str
    mask_seed: int
    augment: str
    views: int
    augment_seed: int
    decode: str = "full"
    f_global: str = "cls"

    def __post_init__(self) -> None:
        self.method()
        checked(Preprocess, decode=self.decode)
        check_augment(self.augment)

    def method(self) -> MethodConfig:
        """The method with these masks."""
        names = ("f_global", "k", "mask_sets", "mask_strategy", "mask_seed")
        method: MethodConfig = checked(MethodConfig, **{name: getattr(self, name) for name in names})
        return method


@dataclass(frozen=True)
class MethodOptions:
    """Constants of LCAS that may change without another extraction; fields as in `MethodConfig`.

    Raises:
        UsageError: a value is not allowed.
    """

    k: int | None
    lambda_: float
    pixel_space: str
    stat_reduction: str
    fidelity_reduction: str

    def __post_init__(self) -> None:
        self.of(MethodConfig())

    def of(self, masks: MethodConfig) -> MethodConfig:
        """The method with these constants and the masks of another one."""
        names = ("lambda_", "pixel_space", "stat_reduction", "fidelity_reduction")
        method: MethodConfig = checked(
            MethodConfig, **masks.model_dump() | {name: getattr(self, name) for name in names}
        )
        return method


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
        return read_all(
            self.roots, layout=self.layout, split=self.split, generators=self.generators or ()
        )

    def read_to_score(self) -> list[Sample]:
        """Read the samples to score: those of the split, without one all but those for training.

        Raises:
            UsageError: every sample is for training.
        """
        samples = [sample for sample in self.read() if self.split or sample.split != "train"]
        if not samples:
            raise UsageError("there is no split but train in this data; name it to score it too: --split train")
        return samples


@dataclass(frozen=True)
class MachineOptions:
    """Resources of a computation.

    Attributes:
        batch_size: images in one forward pass.
        workers: threads that decode images.
        device: auto, cpu or cuda.
        quiet: show no progress.
        precision: auto, fp32, tf32, bf16 or fp16.

    Raises:
        UsageError: an unknown name of a device or precision.
    """

    batch_size: int
    workers: int
    device: str
    quiet: bool
    precision: str = "auto"

    def __post_init__(self) -> None:
        check_device(self.device)
        named_precision(self.precision, auto="fp32")

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
    ) -> ExtractReport:
        """Run `features.extract.extract` with these resources; `shard` as there."""
        from ..features.extract import extract  # torch

        return extract(samples, backbone, spec, root, shard=shard, batch_size=self.batch_size, workers=self.workers,
                       device=choose_device(self.device), quiet=self.quiet)


def head_config(statistics: str, fusion: str, standardize: bool) -> HeadConfig:
    """Options of the head; "none" means f_global alone."""
    chosen = () if statistics in ("", "none") else tuple(part.strip() for part in statistics.split(","))
    config: HeadConfig = checked(HeadConfig, statistics=chosen, fusion=fusion, standardize=standardize)
    return config
