"""The device that training computes on, and how the process is prepared for it."""

from __future__ import annotations

import logging
import os
import sys
from typing import TYPE_CHECKING

from ..runtime.core.errors import MissingDependencyError, UsageError
from .memory import keep_freed_memory

if TYPE_CHECKING:
    import torch


def check_device(name: str) -> None:
    """Raise UsageError for a name that is no device's; torch is not asked whether it is there."""
    if name not in ("auto", "cpu", "cuda") and not name.startswith("cuda:"):
        raise UsageError(f"unknown device {name!r}: use auto, cpu or cuda")


def choose_device(name: str) -> torch.device:
    """Choose a device by name.

    Args:
        name: auto, cpu, cuda or cuda:N; under torchrun, cuda is the process's own card.

    Raises:
        UsageError: unknown name.
        MissingDependencyError: CUDA is asked for and not available.
    """
    import torch  # here, so that names are checked without it

    check_device(name)
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise MissingDependencyError("PyTorch finds no CUDA device; use --device cpu, or install a CUDA build of torch")
    return torch.device(f"cuda:{os.environ.get('LOCAL_RANK', '0')}" if name == "cuda" else name)


def prepare_process(threads: int = 0) -> None:
    """Set up logging to stderr, the allocator and the number of threads (0: torch's own choice)."""
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(message)s")
    keep_freed_memory()
    if threads:
        import torch

        torch.set_num_threads(threads)
