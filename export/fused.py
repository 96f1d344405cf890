"""The fused engine: the packed graph in one file with its manifest and golden logit."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import onnx
import torch

from ..runtime.core.calibration import Calibration
from ..runtime.core.errors import EngineError
from ..runtime.core.golden import golden_image
from ..runtime.core.manifest import Golden, Manifest
from ..runtime.engines.base import Engine
from ..runtime.engines.file.graph import FUSED_OPERATORS
from ..runtime.engines.load import load_engine
from ..train.fitting.manifest_fields import tool_versions
from ..train.model.detector import CinemaeDetector
from .engine_file import write_engine
from .graph.joined import join_products
from .graph.packed import PackedDetector
from .graph.tracing import FUSED, OPSET, trace
from .parity import FLOOR

EXPORT_PACKAGES = ("cinemae", "torch", "onnx", "onnxruntime", "numpy")
TORCH_TYPE = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}

GOLDEN_TOLERANCE = {"fp32": 2e-3, "fp16": 0.05, "bf16": 0.1, "int8": 0.05}
"""How far the golden logit may be off on a healthy machine: other kernels sum in another order (fp32: twice the parity
tolerance); fp16, bf16 and int8 round at every layer, and one that differs on another kernel moves the logit so far.
Relative to a logit above `FLOOR`; the manifest holds the product."""


def fused_graph(detector: CinemaeDetector, precision: str = "fp32") -> onnx.ModelProto:
    """The packed graph of `detector` with its weights in "fp32", "bf16" or, for GPUs, "fp16".

    Raises:
        EngineError: a global encoder needs operators that engines do not have.
    """
    model = packed_graph(PackedDetector(detector, TORCH_TYPE[precision]))
    foreign = {node.op_type for node in model.graph.node} - FUSED_OPERATORS
    if detector.encoder and foreign:
        names = ", ".join(sorted(foreign))
        raise EngineError(f"the global encoder needs {names}, which engines do not have; use a vision transformer")
    if precision == "fp16":
        join_products(model)
    return model


def packed_graph(packed: PackedDetector) -> onnx.ModelProto:
    """The graph of a packed module, whatever its precision."""
    size = packed.config.image_size
    return trace(packed, (torch.zeros(1, size, size, 3, dtype=torch.uint8),), FUSED)


def write_fused(
    model: onnx.ModelProto, manifest: Manifest, path: str | Path, precision: str,
    calibrated: Callable[[Engine], Calibration] | None = None,
) -> Manifest:
    """Write a fused graph as an engine whose manifest holds the logit that this CPU gives the golden image.

    `calibrated` makes the calibration from the engine's own scores; None keeps the manifest's.

    Raises:
        UsageError: the name of the bundled engine.
        EngineError: the logit is not finite.
    """
    packages = (*EXPORT_PACKAGES, "openvino") if precision == "bf16" else EXPORT_PACKAGES
    tools = {**manifest.tools, **tool_versions(packages), "opset": str(OPSET)}
    update = {"kind": "fused", "precision": precision, "golden": None, "tools": tools}
    fused = manifest.model_copy(update=update)

    def measured(engine_path: Path) -> dict[str, object]:
        with load_engine(engine_path, device="cpu") as engine:
            logit = float(engine.infer(golden_image(fused.preprocess.crop)[None]).logit[0])
            own = {} if calibrated is None else {"calibration": calibrated(engine)}
        if not math.isfinite(logit):
            raise EngineError(
                f"{path}: the logit of the golden image is not finite in {precision}; the values of this backbone may "
                "leave the range of half precision (65,504): export without --fp16"
            )
        tolerance = GOLDEN_TOLERANCE[precision] * max(abs(logit), FLOOR)
        return {"golden": Golden(logit=logit, tolerance=tolerance), **own}

    return write_engine(model, fused, path, measured)


def export_fused(
    detector: CinemaeDetector, manifest: Manifest, path: str | Path, precision: str = "fp32",
    calibrated: Callable[[Engine], Calibration] | None = None,
) -> Manifest:
    """Export `detector` (in eval mode) to `path` as `write_fused`; returns the manifest as stored."""
    return write_fused(fused_graph(detector, precision), manifest, path, precision, calibrated)
