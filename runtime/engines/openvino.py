"""OpenVINO backend for Intel CPUs, on the `openvino` package itself, in float32."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import EngineError, MissingDependencyError
from ..manifest import Manifest
from .base import EngineOutput, checked_images
from .onnx import checked_manifest

PROVIDER = "OpenVINO"
OUTPUTS = ("logit", "stats", "lcas")


def import_openvino() -> Any:
    """The openvino module.

    Raises:
        MissingDependencyError: not installed; says the pip line.
    """
    try:
        import openvino
    except ImportError as error:
        fix = "pip install 'cinemae[openvino]'"
        raise MissingDependencyError(f"OpenVINO cannot be imported ({error}): {fix}") from None
    return openvino


class OpenVinoEngine:
    """A fused engine in OpenVINO. `infer` may be called from several threads; it takes turns."""

    provider = PROVIDER
    notes: tuple[str, ...] = ()

    def __init__(self, path: Path, manifest: Manifest, compiled: Any) -> None:
        self.path, self.manifest = path, manifest
        self._request: Any = compiled.create_infer_request()
        self._lock = threading.Lock()

    def infer(self, images: np.ndarray) -> EngineOutput:
        """uint8 [B, S, S, 3] -> `EngineOutput`.

        Raises:
            EngineError: closed, or OpenVINO fails.
            UsageError: another dtype or shape.
        """
        images = checked_images(images, self.manifest)
        with self._lock:
            if self._request is None:
                raise EngineError(f"{self.path}: the engine is closed")
            try:
                found = self._request.infer({"images": images}, share_inputs=True)
            except Exception as error:
                raise EngineError(f"{self.path}: inference failed: {_last_line(error)}") from None
            return EngineOutput(*(np.array(found[name], dtype=np.float32) for name in OUTPUTS))

    def close(self) -> None:
        """Drop the request; calling it twice is harmless."""
        with self._lock:
            self._request = None


def _last_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[-1][:300]


def open_engine(path: Path, device: str, threads: int | None) -> OpenVinoEngine:
    """Check and load a fused `.onnx` engine; see `load_engine`. `device` is "openvino".

    Raises:
        EngineError: damaged, or of operators OpenVINO lacks (an INT8 engine is made for onnxruntime).
        MissingDependencyError: no openvino.
    """
    manifest = checked_manifest(path, "fused")
    core = import_openvino().Core()
    # its own default on newer CPUs is bfloat16, which moves logits by more than every tolerance here
    config: dict[str, Any] = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
    if threads:
        config["INFERENCE_NUM_THREADS"] = threads
    try:
        compiled = core.compile_model(core.read_model(str(path)), "CPU", config)
    except Exception as error:
        hint = "; OpenVINO runs fp32 engines, INT8 ones are for onnxruntime" if manifest.precision == "int8" else ""
        raise EngineError(f"{path}: OpenVINO cannot load it: {_last_line(error)}{hint}") from None
    names = sorted(port.get_any_name() for port in (*compiled.inputs, *compiled.outputs))
    if names != sorted(("images", *OUTPUTS)):
        raise EngineError(f"{path}: its inputs and outputs are {names}; export the engine again")
    return OpenVinoEngine(path, manifest, compiled)
