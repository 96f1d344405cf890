"""Attention and GELU of INT8 engines as one kernel of onnxruntime's each: what is left beside the integer products."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import NodeProto, helper, numpy_helper

from ..graph.tracing import neighbours, replace_nodes, tensor_proto

CONTRIB = "com.microsoft"
"""Domain of onnxruntime's own operators."""


def fuse_attention(model: onnx.ModelProto) -> int:
    """Replace every attention of `model` by a MultiHeadAttention, float32, in place.

    Its kernel goes through the keys block by block: the scores of all queries are never in memory at once.

    Args:
        model: traced from a `PackedDetector`: q, k and v are each a Reshape to [-1, S, heads, D / heads] and a
            Transpose; the scale is in q's weights.

    Returns:
        The number of attentions.
    """
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    made, users = neighbours(model)
    fused: dict[str, list[NodeProto]] = {}
    for softmax in model.graph.node:
        if softmax.op_type != "Softmax":
            continue
        scores, weighted = made[softmax.input[0]], users[softmax.output[0]]
        heads, inputs = 0, []
        for transposed in (*scores.input, weighted.input[1]):
            reshape = made[made[transposed].input[0]]
            _, length, heads, width = numpy_helper.to_array(constants[reshape.input[1]]).tolist()
            shape = f"attention.{length}.{heads * width}"
            if shape not in constants:
                constants[shape] = tensor_proto(shape, np.array([-1, length, heads * width], np.int64))
                model.graph.initializer.append(constants[shape])
            reshape.input[1] = shape
            inputs.append(reshape.output[0])
        output = users[weighted.output[0]].output[0]
        fused[output] = [helper.make_node(
            "MultiHeadAttention", inputs, [output], name=f"{output}.fused", domain=CONTRIB, num_heads=heads, scale=1.0
        )]
    replace_nodes(model, fused)
    return len(fused)


def fuse_gelu(model: onnx.ModelProto) -> int:
    """Replace every GELU whose result is quantised by a FastGelu, in place.

    FastGelu is the approximation by tanh. It is off by 0.0005 at most, a small part of one step of uint8.

    Args:
        model: traced from a `PackedDetector`: GELU is Div, Erf, Add, Mul, Mul.

    Returns:
        The number of GELUs replaced.
    """
    made, users = neighbours(model)
    fused: dict[str, list[NodeProto]] = {}
    for erf in model.graph.node:
        if erf.op_type != "Erf":
            continue
        last = erf
        for _ in range(3):
            last = users[last.output[0]]
        output = last.output[0]
        if users[output].op_type == "QuantizeLinear":
            x = made[erf.input[0]].input[0]
            fused[output] = [helper.make_node("FastGelu", [x], [output], name=f"{output}.fused", domain=CONTRIB)]
    replace_nodes(model, fused)
    return len(fused)
