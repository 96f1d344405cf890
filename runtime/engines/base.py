"""What every engine is: images in; logit, statistics and patch map out. The backends beside this file implement it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol, get_args

import numpy as np

from ..errors import UsageError
from ..manifest import Manifest

Device = Literal["auto", "cpu", "cuda", "tensorrt", "openvino"]
DEVICES: tuple[str, ...] = get_args(Device)
PARTS = ("encoder.onnx", "decoder.onnx", "head.onnx")
@dataclass(frozen=True)
class EngineOutput:
    """logit: float32 [B], raw. stats: float32 [B, 3], s1 s2 s3. lcas: float32 [B, N], NaN where never masked."""

    logit: np.ndarray
    stats: np.ndarray
    lcas: np.ndarray


class Engine(Protocol):
    """A loaded engine.

    Attributes:
        manifest: what it computes.
        path: the file or folder it came from.
        provider: what really runs it, for example "CPUExecutionProvider".
        notes: sentences for the user, such as a fallback from a GPU to the CPU; usually empty.
    """

    manifest: Manifest
    path: Path
    provider: str
    notes: tuple[str, ...]

    def infer(self, images: np.ndarray) -> EngineOutput:
        """uint8 [B, S, S, 3] RGB -> `EngineOutput`. Raises EngineError when the backend fails."""
        ...

    def close(self) -> None:
        """Free the backend's memory; calling it twice is harmless."""
        ...


def checked_images(images: np.ndarray, manifest: Manifest) -> np.ndarray:
    """`images` as a contiguous uint8 [B, S, S, 3] array.

    Raises:
        UsageError: another dtype or shape.
    """
    size = manifest.preprocess.crop
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1:] != (size, size, 3):
        raise UsageError(f"the engine takes uint8 [B, {size}, {size}, 3], got {images.dtype} {list(images.shape)}")
    return np.ascontiguousarray(images)
