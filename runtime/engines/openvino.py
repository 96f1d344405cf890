"""OpenVINO backend for Intel CPUs: computes fused fp32 and fp16 engines in float32 through the `openvino` package."""

from __future__ import annotations

import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np

from ..core.environment import pip_install
from ..core.errors import EngineError, MissingDependencyError
from ..core.manifest import Manifest
from ..core.text import last_line
from .base import OUTPUTS, Engine, EngineOutput, checked_images
from .onnx.engine import checked_manifest


def import_openvino() -> Any:
    """Import openvino with its telemetry turned off: importing it reports to Google Analytics.

    Without the module `openvino_telemetry` it falls back to a stub that sends nothing.

    Raises:
        MissingDependencyError: openvino is not installed; names the pip command.
    """
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    try:
        import openvino
    except ImportError as error:
        raise MissingDependencyError(f"OpenVINO cannot be imported ({error}): {pip_install('openvino')}") from None
    return openvino


class OpenVinoEngine(Engine):
    """A fused engine in OpenVINO. `infer` may be called from several threads; a lock serialises the calls."""

    provider = "OpenVINO"
    notes: tuple[str, ...] = ()

    def __init__(self, path: Path, manifest: Manifest, compiled: Any) -> None:
        self.path, self.manifest = path, manifest
        self._request: Any = compiled.create_infer_request()
        self._lock = threading.Lock()

    def infer(self, images: np.ndarray) -> EngineOutput:
        """See `Engine.infer`."""
        images = checked_images(images, self.manifest)
        with self._lock:
            if self._request is None:
                raise EngineError(f"{self.path}: the engine is closed")
            try:
                outputs = self._request.infer({"images": images}, share_inputs=True)
            except Exception as error:
                raise EngineError(f"{self.path}: inference failed: {last_line(error)}") from None
            return EngineOutput(*(np.array(outputs[name], dtype=np.float32) for name in OUTPUTS))

    def close(self) -> None:
        """Release the inference request. A second call does nothing."""
        with self._lock:
            self._request = None


def open_engine(path: Path, device: str, threads: int | None) -> OpenVinoEngine:
    """Check and load a fused `.onnx` engine, as `load.load_engine`. OpenVINO 2026.4 fails on static INT8 ranges."""
    manifest = checked_manifest(path, "fused")
    core = import_openvino().Core()
    # the default on newer CPUs is bfloat16, whose logits differ by more than the parity tolerance
    config: dict[str, Any] = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
    if threads:
        config["INFERENCE_NUM_THREADS"] = threads
    try:
        compiled = core.compile_model(core.read_model(str(path)), "CPU", config)
    except Exception as error:
        hint = "; use the fp32 or fp16 engine, INT8 is for onnxruntime" if manifest.precision == "int8" else ""
        raise EngineError(f"{path}: OpenVINO cannot load it: {last_line(error)}{hint}") from None
    names = sorted(port.get_any_name() for port in (*compiled.inputs, *compiled.outputs))
    if names != sorted(("images", *OUTPUTS)):
        raise EngineError(f"{path}: its inputs and outputs are {names}; export the engine again")
    return OpenVinoEngine(path, manifest, compiled)
