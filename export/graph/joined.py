"""Compute queries, keys and values of a block as one product, for TensorRT.

TensorRT joins products that share their input by itself, but then adds each bias in a kernel of its own, which also
copies the part to where the attention kernel wants it. In one product with one bias the product adds it, and one kernel
copies all parts (`benchmarks/gpu/layers.md`). Float32 graphs keep the three: on the CPU a cut is one more copy.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import NodeProto, helper, numpy_helper

from .tracing import drop_unused, tensor_proto


def join_products(model: onnx.ModelProto) -> int:
    """Replace products of one width that share their input by one product, in place.

    Args:
        model: traced from a `PackedDetector`: products are MatMul [rows, in] [in, out] with a weight that is constant
            or a DequantizeLinear of constants along axis 1, then Add with a constant vector.

    Returns:
        The number of products that are gone.
    """
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    weights = {name: [name] for name in constants}  # the constants that each is made of
    for node in model.graph.node:
        if node.op_type == "DequantizeLinear" and node.input[0] in constants:
            weights[node.output[0]] = list(node.input)
    users: dict[str, list[NodeProto]] = {}
    for node in model.graph.node:
        for name in node.input:
            users.setdefault(name, []).append(node)
    groups: dict[tuple[str, int], list[tuple[NodeProto, NodeProto]]] = {}
    for node in model.graph.node:
        if node.op_type == "MatMul" and node.input[1] in weights:
            add = users[node.output[0]][0]
            bias = next((constants[name] for name in add.input if name in constants), None)
            if add.op_type == "Add" and bias is not None and len(bias.dims) == 1:
                groups.setdefault((node.input[0], bias.dims[0]), []).append((node, add))
    replaced: dict[str, list[NodeProto]] = {}
    for pairs in groups.values():
        if len(pairs) > 1:
            replaced.update((node.output[0], []) for pair in pairs for node in pair)
            replaced[pairs[0][0].output[0]] = joined(model, constants, weights, pairs)
    nodes = [new for node in model.graph.node for new in replaced.get(node.output[0], [node])]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    drop_unused(model)
    return sum(len(pairs) - 1 for pairs in groups.values())


def joined(
    model: onnx.ModelProto, constants: dict[str, onnx.TensorProto], weights: dict[str, list[str]],
    pairs: list[tuple[NodeProto, NodeProto]],
) -> list[NodeProto]:
    """Nodes with the outputs of `pairs`; their joined weight [in, n out] and bias are added to `model`.

    The parts are cut by Reshape, Transpose and Gather: behind a Split, Slice or Gather of columns TensorRT takes the
    product apart again.
    """
    base = f"{pairs[0][0].output[0]}.joined"
    biases = [[name] for _, add in pairs for name in add.input if name in constants]

    def constant(leaf: str, value: np.ndarray) -> str:
        model.graph.initializer.append(tensor_proto(f"{base}.{leaf}", value))
        return f"{base}.{leaf}"

    def concatenated(leaf: str, parts: list[list[str]], index: int = 0) -> str:
        arrays = [numpy_helper.to_array(constants[part[index]]) for part in parts]
        return constant(leaf, np.concatenate(arrays, axis=-1))

    def node(op: str, inputs: list[str], leaf: str, **attributes: Any) -> NodeProto:
        return helper.make_node(op, inputs, [f"{base}.{leaf}"], name=f"{base}.{leaf}", **attributes)

    nodes = []
    parts = [weights[product.input[1]] for product, _ in pairs]
    weight = concatenated("weight", parts)
    if len(parts[0]) > 1:
        inputs = [weight, *(concatenated(leaf, parts, index) for index, leaf in enumerate(("scale", "zero"), start=1))]
        nodes.append(node("DequantizeLinear", inputs, "weight.dq", axis=1))
        weight = nodes[0].output[0]
    shape = constant("shape", np.array([-1, len(pairs), constants[biases[0][0]].dims[0]], np.int64))
    nodes += [
        node("MatMul", [pairs[0][0].input[0], weight], "product"),
        node("Add", [f"{base}.product", concatenated("bias", biases)], "sum"),
        node("Reshape", [f"{base}.sum", shape], "cut"),
        node("Transpose", [f"{base}.cut"], "parts", perm=[1, 0, 2]),
    ]
    for index, (_, add) in enumerate(pairs):
        at = constant(f"index{index}", np.array(index, np.int64))
        part = node("Gather", [f"{base}.parts", at], f"part{index}", axis=0)
        part.output[0] = add.output[0]
        nodes.append(part)
    return nodes
