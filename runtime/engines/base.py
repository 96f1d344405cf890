"""The interface of every backend: a batch of images in; logits, statistics and patch maps out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np

from ..core.errors import UsageError
from ..core.manifest import Manifest
from ..core.rows import stacked

PARTS = ("encoder.onnx", "decoder.onnx", "head.onnx")
"""Files of an engine in parts."""


@dataclass(frozen=True)
class EngineOutput:
    """The results of one batch.

    Attributes:
        logit: float32 [B], the head's raw output (Eq. 9), before calibration.
        stats: float32 [B, 3], the statistics s1, s2, s3 (Eq. 6).
        lcas: float32 [B, N], each patch's mean LCAS (Eq. 4) over the runs that masked it, NaN where none did.
    """

    logit: np.ndarray
    stats: np.ndarray
    lcas: np.ndarray


class Engine(Protocol):
    """A loaded engine.

    Attributes:
        manifest: the model, its preprocessing and calibration.
        path: the file or folder the engine was loaded from.
        provider: the backend and device in use, for example "CPUExecutionProvider".
        notes: sentences for the user, such as a fallback from a GPU to the CPU; usually empty.
    """

    manifest: Manifest
    path: Path
    provider: str
    notes: tuple[str, ...]

    def infer(self, images: np.ndarray) -> EngineOutput:
        """Score a batch.

        Args:
            images: uint8 [B, S, S, 3], RGB, S the manifest's `preprocess.crop`.

        Raises:
            EngineError: the engine is closed, or the backend fails.
            UsageError: `images` has another dtype or shape.
        """
        ...

    def close(self) -> None:
        """Free the backend's memory. A second call does nothing."""
        ...


class InFlight(Protocol):
    """A batch that an engine has begun."""

    def result(self) -> EngineOutput:
        """Wait for the outputs; must be called once, and other batches may wait until it is.

        Raises:
            EngineError: the engine was closed meanwhile, or the backend fails.
        """
        ...


@runtime_checkable
class SubmittingEngine(Protocol):
    """An engine that computes beside the CPU, several batches one after another."""

    def submit(self, images: Sequence[np.ndarray]) -> InFlight:
        """Begin a batch of images, each uint8 [S, S, 3]; waits while too many are in flight.

        Raises:
            EngineError: as `Engine.infer`.
        """
        ...


@runtime_checkable
class PageLockingEngine(Protocol):
    """An engine that takes images from page-locked memory, where they lie, to a GPU."""

    def lock_pages(self, memory: np.ndarray) -> None:
        """Page-lock memory in which images of later batches lie; what was locked before stays.

        Images elsewhere, also in memory that cannot be locked, are copied within the host first.
        """
        ...


def begin(engine: Engine, images: Sequence[np.ndarray]) -> Callable[[], EngineOutput]:
    """Begin a batch of images, each uint8 [S, S, 3]; an engine that computes on the CPU finishes it at once.

    The images may be changed again once the outputs are there.

    Returns:
        A function that waits for the outputs; it must be called once.

    Raises:
        EngineError: as `Engine.infer`.
    """
    if isinstance(engine, SubmittingEngine):
        return engine.submit(images).result
    output = engine.infer(stacked(images))
    return lambda: output


def checked_images(images: np.ndarray, manifest: Manifest) -> np.ndarray:
    """Check a batch and make it contiguous.

    Args:
        images: uint8 [B, S, S, 3].
        manifest: the engine's; its `preprocess.crop` is S.

    Returns:
        The same values, C-contiguous.

    Raises:
        UsageError: another dtype or shape.
    """
    size = manifest.preprocess.crop
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1:] != (size, size, 3):
        raise UsageError(f"the engine takes uint8 [B, {size}, {size}, 3], got {images.dtype} {list(images.shape)}")
    return np.ascontiguousarray(images)


def joined(outputs: Sequence[EngineOutput]) -> EngineOutput:
    """The outputs of several inferences as that of one."""
    return EngineOutput(
        *(np.concatenate([getattr(output, name) for output in outputs]) for name in ("logit", "stats", "lcas"))
    )
