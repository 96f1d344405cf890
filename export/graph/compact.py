"""Store float32 weights as float16 with a Cast behind each, where float16 represents every value exactly.

The graph still computes in float32; onnxruntime folds the casts when it loads the file. Weights that were rounded to
float16 after pretraining (`cinemae-train pretrain --half`) all qualify.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from .tracing import tensor_proto

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
