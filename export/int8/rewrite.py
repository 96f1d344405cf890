"""Put a quantisation recipe into a traced graph, for onnxruntime's CPU kernels: products, attention and GELU."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from onnx import NodeProto, helper, numpy_helper

from ..graph.packed import PackedDetector
from ..graph.tracing import neighbours, replace_nodes, tensor_proto
from .ranges import TINY, dense_layers
from .recipe import SIGNED, Treatment, quantise_weight

CONTRIB = "com.microsoft"
"""Domain of onnxruntime's own operators."""

CENTRE = 128
"""Zero point of per-token scales: int8 shifted into uint8, the type the fast x86 kernels take on the left."""


class QuantisedInputs:
    """Nodes that quantise the inputs of products, each input once for all products that read it, and their constants.
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        self.graph = model.graph
        self.constants: set[str] = set()
        self.done: dict[tuple[str, ...], tuple[str, ...]] = {}

    def constant(self, name: str, value: np.ndarray) -> str:
        """Add the constant unless the graph has it already; returns `name`."""
        if name not in self.constants:
            self.constants.add(name)
            self.graph.initializer.append(tensor_proto(name, value))
        return name

    def scalar(self, value: float | int, dtype: type) -> str:
        """A shared scalar constant."""
        return self.constant(f"int8.{np.dtype(dtype).name}.{value!r}", np.asarray(value, dtype))

    def static(self, x: str, treatment: Treatment) -> tuple[list[NodeProto], tuple[str, ...]]:
        """Quantise `x` with a fixed scale.

        Returns:
            The nodes to insert (none if `x` is quantised already); the names of (quantised x, scale, zero point).
        """
        scale, zero = self.scalar(treatment.scale, np.float32), self.scalar(treatment.zero_point, np.uint8)
        key = (x, scale, zero)
        if key in self.done:
            return [], self.done[key]
        name = f"{x}.u8.{len(self.done)}"
        self.done[key] = (name, scale, zero)
        return [helper.make_node("QuantizeLinear", [x, scale, zero], [name], name=name)], self.done[key]

    def by_row(self, x: str) -> tuple[list[NodeProto], tuple[str, ...]]:
        """Quantise `x` with one scale a token.

        Returns:
            The nodes to insert; the names of (quantised x, the constant 1, zero point, scale [..., 1]).
        """
        key = (x, "row")
        if key in self.done:
            return [], self.done[key]
        one, zero = self.scalar(1.0, np.float32), self.scalar(CENTRE, np.uint8)
        base = f"{x}.row.{len(self.done)}"
        steps: list[tuple[str, list[str], str, dict[str, Any]]] = [
            ("Abs", [x], "abs", {}),
            ("ReduceMax", [f"{base}.abs"], "max", {"axes": [-1], "keepdims": 1}),
            ("Mul", [f"{base}.max", self.scalar(1 / SIGNED, np.float32)], "step", {}),
            ("Max", [f"{base}.step", self.scalar(TINY, np.float32)], "scale", {}),
            ("Div", [x, f"{base}.scale"], "scaled", {}),
            ("QuantizeLinear", [f"{base}.scaled", one, zero], "u8", {}),
        ]
        self.done[key] = (f"{base}.u8", one, zero, f"{base}.scale")
        nodes = [helper.make_node(op, i, [f"{base}.{o}"], name=f"{base}.{o}", **a) for op, i, o, a in steps]
        return nodes, self.done[key]


def quantise_for_cpu(model: onnx.ModelProto, packed: PackedDetector, recipe: Mapping[str, Treatment]) -> None:
    """Replace products of `model` by onnxruntime's integer products, in place, and drop their float32 weights.

    One MatMulIntegerToFloat is the integer product with both scales, (x - zero) W scale_x scale_w, and adds the bias
    that follows. Attention and the GELUs between integer products become one kernel each.

    Args:
        model: traced from `packed`.
        packed: the detector that `choose_recipe` balanced.
        recipe: name of the product -> treatment.
    """
    shapes = {tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer}
    _, users = neighbours(model)
    inputs, layers = QuantisedInputs(model), dense_layers(packed)
    by_weight = {f"{name}.weight": name for name, treatment in recipe.items() if treatment.kind != "fp32"}
    replaced: dict[str, list[NodeProto]] = {}
    for node in model.graph.node:
        if node.op_type != "MatMul" or node.input[1] not in by_weight:
            continue
        name, output = by_weight[node.input[1]], node.output[0]
        treatment = recipe[name]
        values, scales = quantise_weight(layers[name].weight)
        weight = inputs.constant(f"{name}.weight.s8", values.numpy())
        scale = inputs.constant(f"{name}.weight.scale", scales.numpy())
        fixed = treatment.kind == "static"
        nodes, (x, one, zero, *row) = inputs.static(node.input[0], treatment) if fixed else inputs.by_row(node.input[0])
        product = helper.make_node(
            "MatMulIntegerToFloat", [x, weight, one, scale, zero], [output], name=f"{name}.int8", domain=CONTRIB
        )
        nodes.append(product)
        add = users[output]
        bias = [other for other in add.input if len(shapes.get(other, ())) == 1] if add.op_type == "Add" else []
        if row:
            product.output[0] = f"{output}.raw"
            nodes.append(helper.make_node("Mul", [f"{output}.raw", *row], [output], name=f"{name}.rescale"))
        elif bias:
            product.input.extend(["", *bias])
            product.output[0] = add.output[0]
            replaced[add.output[0]] = []
        replaced[output] = nodes
    replace_nodes(model, replaced)
    model.opset_import.append(helper.make_opsetid(CONTRIB, 1))
    fuse_attention(model)
    fuse_gelu(model)


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
