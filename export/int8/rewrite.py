"""Put a quantisation recipe into a traced graph: for onnxruntime's CPU kernels, or as QDQ for TensorRT."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from onnx import NodeProto, helper

from ..graph.joined import join_products
from ..graph.packed import PackedDetector
from ..graph.tracing import tensor_proto
from .contrib import CONTRIB, fuse_attention, fuse_gelu
from .ranges import TINY, dense_layers
from .recipe import SIGNED, Treatment, quantise_weight

CENTRE = 128
"""Zero point of per-token scales: int8 shifted into uint8, the type the fast x86 kernels take on the left."""


class Rewriter:
    """Collects replacement nodes and shared constants for one graph."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.graph = model.graph
        self.constants: set[str] = set()
        self.quantised: dict[tuple[str, ...], tuple[list[NodeProto], tuple[str, ...]]] = {}

    def constant(self, name: str, value: np.ndarray) -> str:
        """Add the constant unless the graph has it already; returns `name`."""
        if name not in self.constants:
            self.constants.add(name)
            self.graph.initializer.append(tensor_proto(name, value))
        return name

    def scalar(self, value: float | int, dtype: type) -> str:
        """A shared scalar constant."""
        return self.constant(f"int8.{np.dtype(dtype).name}.{value!r}", np.asarray(value, dtype))

    def static_input(self, x: str, treatment: Treatment) -> tuple[list[NodeProto], tuple[str, ...]]:
        """Quantise `x` with a fixed scale, once for all its users.

        Returns:
            The nodes to insert (none if `x` is quantised already); the names of (quantised x, scale, zero point).
        """
        scale, zero = self.scalar(treatment.scale, np.float32), self.scalar(treatment.zero_point, np.uint8)
        key = (x, scale, zero)
        if key in self.quantised:
            return [], self.quantised[key][1]
        name = f"{x}.u8.{len(self.quantised)}"
        nodes = [helper.make_node("QuantizeLinear", [x, scale, zero], [name], name=name)]
        self.quantised[key] = (nodes, (name, scale, zero))
        return nodes, (name, scale, zero)

    def row_input(self, x: str) -> tuple[list[NodeProto], tuple[str, ...]]:
        """Quantise `x` with one scale a token, once for all its users.

        Returns:
            The nodes to insert; the names of (quantised x, the constant 1, zero point, scale [..., 1]).
        """
        key = (x, "row")
        one, zero = self.scalar(1.0, np.float32), self.scalar(CENTRE, np.uint8)
        if key in self.quantised:
            return [], self.quantised[key][1]
        base = f"{x}.row.{len(self.quantised)}"
        steps: list[tuple[str, list[str], str, dict[str, Any]]] = [
            ("Abs", [x], "abs", {}),
            ("ReduceMax", [f"{base}.abs"], "max", {"axes": [-1], "keepdims": 1}),
            ("Mul", [f"{base}.max", self.scalar(1 / SIGNED, np.float32)], "step", {}),
            ("Max", [f"{base}.step", self.scalar(TINY, np.float32)], "scale", {}),
            ("Div", [x, f"{base}.scale"], "scaled", {}),
            ("QuantizeLinear", [f"{base}.scaled", one, zero], "u8", {}),
        ]
        nodes = [helper.make_node(op, i, [f"{base}.{o}"], name=f"{base}.{o}", **a) for op, i, o, a in steps]
        self.quantised[key] = (nodes, (f"{base}.u8", one, zero, f"{base}.scale"))
        return nodes, self.quantised[key][1]

    def weight(self, name: str, packed_weight: np.ndarray, scale: np.ndarray) -> tuple[str, str]:
        """int8 weight and its scales as constants."""
        return self.constant(f"{name}.weight.s8", packed_weight), self.constant(f"{name}.weight.scale", scale)


def quantise_for_cpu(model: onnx.ModelProto, packed: PackedDetector, recipe: Mapping[str, Treatment]) -> None:
    """Replace products of `model` by onnxruntime's integer products, in place, and drop their float32 weights.

    Attention and the GELUs between integer products become one kernel each (`contrib`).

    Args:
        model: traced from `packed`.
        packed: the detector that `choose_recipe` balanced.
        recipe: name of the product -> treatment.
    """
    rewriter = Rewriter(model)
    layers = dense_layers(packed)
    by_weight = {f"{name}.weight": name for name, treatment in recipe.items() if treatment.kind != "fp32"}
    nodes: list[NodeProto] = []
    for node in model.graph.node:
        name = by_weight.get(node.input[1]) if node.op_type == "MatMul" else None
        if name is None:
            nodes.append(node)
            continue
        values, scale = quantise_weight(layers[name].weight)
        weight, weight_scale = rewriter.weight(name, values.numpy(), scale.numpy())
        x, treatment = node.input[0], recipe[name]
        if treatment.kind == "static":
            added, (quantised, one, zero) = rewriter.static_input(x, treatment)
            nodes += added
            nodes.append(integer_product([quantised, weight, one, weight_scale, zero], node.output[0], name))
        else:
            added, (quantised, one, zero, row_scale) = rewriter.row_input(x)
            nodes += added
            raw = f"{node.output[0]}.raw"
            nodes.append(integer_product([quantised, weight, one, weight_scale, zero], raw, name))
            nodes.append(helper.make_node("Mul", [raw, row_scale], [node.output[0]], name=f"{name}.rescale"))
    del model.graph.node[:]
    model.graph.node.extend(fuse_bias(nodes, {t.name: tuple(t.dims) for t in model.graph.initializer}))
    model.opset_import.append(helper.make_opsetid(CONTRIB, 1))
    fuse_attention(model)
    fuse_gelu(model)


def integer_product(inputs: list[str], output: str, name: str) -> NodeProto:
    """One MatMulIntegerToFloat, integer product and scales in one kernel: float32 = (x - zero) W scale_x scale_w."""
    return helper.make_node("MatMulIntegerToFloat", inputs, [output], name=f"{name}.int8", domain=CONTRIB)


def fuse_bias(nodes: list[NodeProto], shapes: dict[str, tuple[int, ...]]) -> list[NodeProto]:
    """Let integer products add their bias themselves where an Add with a vector follows."""
    produced = {node.output[0]: node for node in nodes if node.op_type == "MatMulIntegerToFloat"}
    kept = []
    for node in nodes:
        if node.op_type == "Add":
            for x, bias in (tuple(node.input), tuple(node.input)[::-1]):
                if x in produced and len(shapes.get(bias, ())) == 1:
                    product = produced.pop(x)
                    product.input.extend(["", bias])
                    product.output[0] = node.output[0]
                    break
            else:
                kept.append(node)
        else:
            kept.append(node)
    return kept


def quantise_for_tensorrt(model: onnx.ModelProto, packed: PackedDetector, recipe: Mapping[str, Treatment]) -> None:
    """Wrap every static product in QuantizeLinear / DequantizeLinear with symmetric int8, in place; standard ONNX only.

    TensorRT knows no zero points and no per-token scales: "row" products stay as they are. Scales have the type of
    the graph's weights: in a float16 graph attention, GELU and the residual stream stay float16. Queries, keys and
    values become one product, as in the float16 graph.

    Args:
        model: traced from `packed`.
        packed: the detector that `choose_recipe` balanced.
        recipe: name of the product -> treatment.
    """
    rewriter = Rewriter(model)
    layers = dense_layers(packed)
    zero = rewriter.scalar(0, np.int8)
    by_weight = {f"{name}.weight": name for name, treatment in recipe.items() if treatment.kind == "static"}
    types = {tensor.name: tensor.data_type for tensor in model.graph.initializer}
    half = types[next(iter(by_weight))] == onnx.TensorProto.FLOAT16 if by_weight else False
    dtype = np.float16 if half else np.float32
    tiny = np.finfo(dtype).smallest_subnormal  # the scale of a channel of zeros must be positive
    wrapped: dict[tuple[str, str], str] = {}
    nodes: list[NodeProto] = []
    for node in model.graph.node:
        name = by_weight.get(node.input[1]) if node.op_type == "MatMul" else None
        if name is not None:
            treatment = recipe[name]
            reach = treatment.scale * max(treatment.zero_point, 255 - treatment.zero_point)
            scale = rewriter.scalar(float(dtype(reach / SIGNED)), dtype)
            if (node.input[0], scale) not in wrapped:
                base = f"{node.input[0]}.qdq.{len(wrapped)}"
                nodes += [
                    helper.make_node("QuantizeLinear", [node.input[0], scale, zero], [f"{base}.s8"], name=f"{base}.q"),
                    helper.make_node("DequantizeLinear", [f"{base}.s8", scale, zero], [base], name=f"{base}.dq"),
                ]
                wrapped[node.input[0], scale] = base
            values, weight_scale = quantise_weight(layers[name].weight)
            weight = list(rewriter.weight(name, values.numpy(), np.maximum(weight_scale.numpy().astype(dtype), tiny)))
            zeros = rewriter.constant(f"{name}.weight.zero", np.zeros(values.shape[1], np.int8))
            nodes.append(helper.make_node("DequantizeLinear", [*weight, zeros], [f"{name}.weight.dq"], axis=1))
            node.input[0], node.input[1] = wrapped[node.input[0], scale], f"{name}.weight.dq"
        nodes.append(node)
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    join_products(model)
