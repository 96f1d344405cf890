"""The product that `cinemae bench` times: its graphs, its exact result, and a machine without onnxruntime."""

from __future__ import annotations

from base64 import b64decode

import numpy as np
import onnx
import pytest
from cinemae.runtime.core.errors import MissingDependencyError
from cinemae.runtime.diagnose import product
from onnx import TensorProto, helper


@pytest.mark.parametrize(("precision", "kind", "given", "weight", "result"), [
    ("fp32", "MatMul", TensorProto.FLOAT, TensorProto.FLOAT, TensorProto.FLOAT),
    ("int8", "MatMulInteger", TensorProto.UINT8, TensorProto.INT8, TensorProto.INT32),
])
def test_the_graphs_are_the_products_that_they_say(precision, kind, given, weight, result):
    nodes = [
        helper.make_node("ConstantOfShape", ["s"], ["b"], value=helper.make_tensor("v", weight, [1], [127])),
        helper.make_node(kind, ["a", "b"], ["y"]),
    ]
    ends = (helper.make_tensor_value_info("a", given, [product.ROWS, product.INNER]),
            helper.make_tensor_value_info("y", result, [product.ROWS, product.COLUMNS]))
    shape = helper.make_tensor("s", TensorProto.INT64, [2], [product.INNER, product.COLUMNS])
    graph = helper.make_graph(nodes, "g", [ends[0]], [ends[1]], [shape])
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    assert onnx.load_from_string(b64decode(product.GRAPHS[precision])) == made


def test_both_products_are_exact_here():
    found = product.products(2)
    assert list(found) == ["fp32", "int8"]
    for call in found.values():
        assert np.all(call()[0] == product.EXACT)


def test_without_onnxruntime_there_is_none(monkeypatch):
    def missing():
        raise MissingDependencyError("onnxruntime cannot be imported")

    monkeypatch.setattr(product, "import_onnxruntime", missing)
    assert product.products(1) == {}
