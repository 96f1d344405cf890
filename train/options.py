"""Groups of command line options, and how they become samples, devices and configurations."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError

from ..runtime.errors import MissingDependencyError, UsageError
from .cache_spec import CacheSpec
from .data.samples import Sample, read_samples
from .extract import ExtractReport, extract
from .mae import MaskedAutoencoder
from .memory import keep_freed_memory


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


def prepare_process(threads: int = 0) -> None:
    """Logging to stderr, allocator, and the number of threads (0: torch's own choice)."""
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(message)s")
    keep_freed_memory()
    if threads:
        torch.set_num_threads(threads)


def choose_device(name: str) -> torch.device:
    """auto, cpu, cuda, or cuda:N; under torchrun, cuda is the process's own card.

    Raises:
        UsageError: unknown. MissingDependencyError: cuda asked for and not there.
    """
    if name not in ("auto", "cpu", "cuda") and not name.startswith("cuda:"):
        raise UsageError(f"unknown device {name!r}: use auto, cpu or cuda")
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise MissingDependencyError("PyTorch finds no CUDA device; use --device cpu, or install a CUDA build of torch")
    return torch.device(f"cuda:{os.environ.get('LOCAL_RANK', '0')}" if name == "cuda" else name)


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
    """The samples of all DATA arguments, in their order."""
    return [sample for root in data for sample in read_samples(root, layout=layout, split=split, generators=generators)]
