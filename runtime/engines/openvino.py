"""OpenVINO backend for Intel CPUs: bf16 engines by the types of their graph, others in float32 unless bf16 is asked."""

from __future__ import annotations

import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np

from ..core.environment import lacks_bf16, pip_install
from ..core.errors import EngineError, MissingDependencyError, UsageError
from ..core.manifest import Manifest
from ..core.text import last_line
from .base import OUTPUTS, Engine, EngineOutput, checked_images
from .onnx.engine import checked_manifest

CPU, CAPABILITIES = "CPU", "OPTIMIZATION_CAPABILITIES"


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

    def __init__(self, path: Path, manifest: Manifest, compiled: Any, device: str) -> None:
        self.path, self.manifest = path, manifest
        self.provider = "OpenVINO" if device == CPU else f"OpenVINO {device}"
        self.notes: tuple[str, ...] = () if device == CPU else (f"OpenVINO's device {device} is untried here",)
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


def open_engine(path: Path, device: str, threads: int | None, precision: str | None = None) -> OpenVinoEngine:
    """Check and load a fused `.onnx` engine, as `load.load_engine`. OpenVINO 2026.4 fails on static INT8 ranges.

    Args:
        path: the engine.
        device: "openvino" for the CPU, or with one of OpenVINO's own devices, such as "openvino:GPU".
        threads: of one inference.
        precision: "bf16" for an engine that is not; None for the graph's own types.
    """
    manifest = checked_manifest(path, "fused")
    if precision and manifest.precision not in ("fp32", precision):
        raise UsageError(f"{path}: is an {manifest.precision} engine; --precision {precision} is for float32 engines")
    core, device = import_openvino().Core(), device.partition(":")[2] or CPU
    available = core.available_devices
    if device not in (*available, *(name.partition(".")[0] for name in available)):
        raise MissingDependencyError(f"OpenVINO finds no device {device} here, only {', '.join(available)}")
    # OpenVINO lists BF16 on every CPU with AVX-512, and computes it through float32 where the instructions lack
    without = "BF16" not in core.get_property(device, CAPABILITIES) or (device == CPU and lacks_bf16())
    if (precision or manifest.precision) == "bf16" and without:
        raise UsageError(f"{path}: this {device} has no bfloat16 instructions: use float32")
    # by default newer CPUs round float32 graphs to bfloat16; f32 obeys the types in the graph, bfloat16 too
    hint = "bf16" if precision == "bf16" and manifest.precision == "fp32" else "f32"
    config: dict[str, Any] = {"INFERENCE_PRECISION_HINT": hint, "PERFORMANCE_HINT": "LATENCY"}
    if threads:
        config["INFERENCE_NUM_THREADS"] = threads
    try:
        compiled = core.compile_model(core.read_model(str(path)), device, config)
    except Exception as error:
        fix = "; use the fp32 or fp16 engine, INT8 is for onnxruntime" if manifest.precision == "int8" else ""
        raise EngineError(f"{path}: OpenVINO cannot load it: {last_line(error)}{fix}") from None
    names = sorted(port.get_any_name() for port in (*compiled.inputs, *compiled.outputs))
    if names != sorted(("images", *OUTPUTS)):
        raise EngineError(f"{path}: its inputs and outputs are {names}; export the engine again")
    return OpenVinoEngine(path, manifest, compiled, device)
