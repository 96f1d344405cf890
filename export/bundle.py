"""Make the bundled demonstration engine: `python -m cinemae.export.bundle CHECKPOINT models/cinemae-demo.onnx`.

The only writer of that file; the manifest says that it is a demonstration. float32 weights are stored as float16 with a
Cast behind each where float16 represents every value exactly: those that `cinemae-train pretrain --half` rounded all
qualify. The graph still computes in float32; onnxruntime folds the casts when it loads the file.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from ..runtime.core.errors import CinemaeError, UsageError
from ..train.fitting.checkpoint import load_checkpoint
from .fused import fused_graph, write_fused
from .graph.tracing import tensor_proto
from .parity import BATCHES, eager_output, format_table, parity_images, parity_table, require

LARGEST = 24 * 2**20
"""Limit of the bundled engine's size in bytes."""

SMALLEST = 1024
"""Elements below which the extra node costs more than the bytes saved."""


def exact_in_half(values: np.ndarray) -> bool:
    """Whether float32 `values` survive float16 unchanged."""
    with np.errstate(over="ignore"):
        return bool(np.array_equal(values.astype(np.float16).astype(np.float32), values))


def compact(model: onnx.ModelProto) -> int:
    """Compact `model` in place; returns the bytes saved."""
    saved, casts = 0, []
    for index, tensor in enumerate(model.graph.initializer):
        if tensor.data_type != TensorProto.FLOAT:
            continue
        values = numpy_helper.to_array(tensor)
        if values.size < SMALLEST or not exact_in_half(values):
            continue
        name = tensor.name
        model.graph.initializer[index].CopyFrom(tensor_proto(f"{name}.half", values.astype(np.float16)))
        casts.append(helper.make_node("Cast", [f"{name}.half"], [name], to=TensorProto.FLOAT))
        saved += values.nbytes // 2
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return saved


def bundle(checkpoint: Path, target: Path) -> str:
    """Export `checkpoint` to `target` (its folder must exist) and return the parity table.

    Raises:
        UsageError: the file would be larger than the package may carry.
        ParityError: it disagrees with eager PyTorch.
    """
    loaded = load_checkpoint(checkpoint)
    model = fused_graph(loaded.detector)
    compact(model)
    licence = loaded.manifest.backbone.licence  # the weights' own; that of the code is another
    manifest = loaded.manifest.model_copy(update={"name": "cinemae-demo", "demonstration": True, "licence": licence})
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        engine = Path(folder) / "bundle.onnx"
        write_fused(model, manifest, engine, "fp32")
        if engine.stat().st_size > LARGEST:
            raise UsageError(f"{engine.stat().st_size:,} bytes: the bundled engine may hold {LARGEST:,}")
        images = parity_images(max(BATCHES), manifest.preprocess.crop)
        rows = parity_table({"bundled": (engine, "fp32")}, images, eager_output(loaded.detector, images))
        require(rows)
        engine.replace(target)
    return format_table(rows)


def main() -> None:
    """Entry point: CHECKPOINT TARGET."""
    if len(sys.argv) != 3:
        sys.exit("usage: python -m cinemae.export.bundle CHECKPOINT models/cinemae-demo.onnx")
    try:
        print(bundle(Path(sys.argv[1]), Path(sys.argv[2])))
    except CinemaeError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
