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

from .tracing import neighbours, replace_nodes, tensor_proto


def join_products(model: onnx.ModelProto) -> int:
    """Replace products of one width that share their input by one product, in place.

    Args:
        model: traced from a `PackedDetector`: products are MatMul [rows, in] [in, out] with a constant weight, then Add
            with a constant vector.

    Returns:
        The number of products that are gone.
    """
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    _, users = neighbours(model)
    groups: dict[tuple[str, int], list[tuple[NodeProto, NodeProto, str]]] = {}
    for node in model.graph.node:
        if node.op_type == "MatMul" and node.input[1] in constants:
            add = users[node.output[0]]
            bias = next((name for name in add.input if name in constants), None)
            if add.op_type == "Add" and bias is not None and len(constants[bias].dims) == 1:
                groups.setdefault((node.input[0], constants[bias].dims[0]), []).append((node, add, bias))
    shared = [products for products in groups.values() if len(products) > 1]
    replaced: dict[str, list[NodeProto]] = {}
    for products in shared:
        replaced |= {node.output[0]: [] for product in products for node in product[:2]}
        replaced[products[0][0].output[0]] = joined(model, constants, products)
    replace_nodes(model, replaced)
    return sum(len(products) - 1 for products in shared)


def joined(
    model: onnx.ModelProto, constants: dict[str, onnx.TensorProto], products: list[tuple[NodeProto, NodeProto, str]]
) -> list[NodeProto]:
    """Nodes with the outputs of `products`; their joined weight [in, n out] and bias are added to `model`.

    The parts are cut by Reshape, Transpose and Gather: behind a Split, Slice or Gather of columns TensorRT takes the
    product apart again.
    """
    first = products[0][0]
    base = f"{first.output[0]}.joined"

    def constant(leaf: str, value: np.ndarray) -> str:
        model.graph.initializer.append(tensor_proto(f"{base}.{leaf}", value))
        return f"{base}.{leaf}"

    def concatenated(leaf: str, names: list[str]) -> str:
        return constant(leaf, np.concatenate([numpy_helper.to_array(constants[name]) for name in names], axis=-1))

    def node(op: str, inputs: list[str], leaf: str, **attributes: Any) -> NodeProto:
        return helper.make_node(op, inputs, [f"{base}.{leaf}"], name=f"{base}.{leaf}", **attributes)

    weight = concatenated("weight", [product.input[1] for product, _, _ in products])
    shape = constant("shape", np.array([-1, len(products), constants[products[0][2]].dims[0]], np.int64))
    nodes = [
        node("MatMul", [first.input[0], weight], "product"),
        node("Add", [f"{base}.product", concatenated("bias", [bias for _, _, bias in products])], "sum"),
        node("Reshape", [f"{base}.sum", shape], "cut"),
        node("Transpose", [f"{base}.cut"], "parts", perm=[1, 0, 2]),
    ]
    for index, (_, add, _) in enumerate(products):
        at = constant(f"index{index}", np.array(index, np.int64))
        part = node("Gather", [f"{base}.parts", at], f"part{index}", axis=0)
        part.output[0] = add.output[0]
        nodes.append(part)
    return nodes
