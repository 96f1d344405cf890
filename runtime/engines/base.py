"""The interface of every backend: a batch of images in; logits, statistics and patch maps out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..core.errors import UsageError
from ..core.manifest import Manifest

PARTS = ("encoder.onnx", "decoder.onnx", "head.onnx")
"""Files of an engine in parts."""

OUTPUTS = ("logit", "stats", "lcas")
"""Outputs of every engine."""


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


class Engine(ABC):
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

    @abstractmethod
    def infer(self, images: np.ndarray) -> EngineOutput:
        """Score a batch.

        Args:
            images: uint8 [B, S, S, 3], RGB, S the manifest's `preprocess.crop`.

        Raises:
            EngineError: the engine is closed, or the backend fails.
            UsageError: `images` has another dtype or shape.
        """

    def begin(self, images: Sequence[np.ndarray]) -> Callable[[], EngineOutput]:
        """Begin a batch of images, each uint8 [S, S, 3]. An engine on the CPU also finishes it.

        An engine on a GPU computes beside the CPU, and waits here while too many batches are in flight. The images may
        be changed as soon as this returns.

        Returns:
            A function that waits for the outputs; it must be called once, also after `close`, and raises EngineError
            where the backend fails.

        Raises:
            EngineError, UsageError: as `infer`.
        """
        output = self.infer(np.stack(images))
        return lambda: output

    @abstractmethod
    def close(self) -> None:
        """Free the backend's memory. A second call does nothing."""

    def __enter__(self) -> Engine:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def checked_images(images: np.ndarray, manifest: Manifest) -> np.ndarray:
    """The same batch, uint8 [B, S, S, 3] with the manifest's `preprocess.crop` as S, C-contiguous.

    Raises:
        UsageError: another dtype or shape.
    """
    size = manifest.preprocess.crop
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1:] != (size, size, 3):
        raise UsageError(f"the engine takes uint8 [B, {size}, {size}, 3], got {images.dtype} {list(images.shape)}")
    return np.ascontiguousarray(images)


def output_shapes(manifest: Manifest) -> dict[str, tuple[int, ...]]:
    """Name -> shape of each of an engine's outputs, without the batch."""
    return dict(zip(OUTPUTS, ((), (3,), (manifest.backbone.config.n_patches,)), strict=True))


def no_output(manifest: Manifest) -> EngineOutput:
    """The outputs of a batch of no images."""
    return EngineOutput(*(np.zeros((0, *shape), np.float32) for shape in output_shapes(manifest).values()))


def joined(outputs: Sequence[EngineOutput]) -> EngineOutput:
    """The outputs of several inferences as those of one inference."""
    return EngineOutput(*(np.concatenate([getattr(output, name) for output in outputs]) for name in OUTPUTS))
