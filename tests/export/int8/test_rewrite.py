"""INT8 on the CPU: attention and quantised GELUs are one kernel each, with the numbers of the traced graph."""

from collections import Counter

import numpy as np
import onnx
import pytest
from cinemae.export.fused import packed_graph
from cinemae.export.graph.packed import PackedDetector
from cinemae.export.int8.ranges import dense_layers
from cinemae.export.int8.recipe import Treatment
from cinemae.export.int8.rewrite import CONTRIB, fuse_attention, fuse_gelu, quantise_for_cpu
from cinemae.export.parity import parity_images
from cinemae.runtime.engines.onnx.library import import_onnxruntime
from onnx import TensorProto, helper

TANH = 4.8e-4
"""Largest difference between GELU and its approximation by tanh, at |x| = 2.3."""


def outputs(model, feeds):
    session = import_onnxruntime().InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, feeds)


def operators(model):
    return Counter(node.op_type for node in model.graph.node)


@pytest.fixture
def attentions(tiny_config):
    """Of each encoder block two, the full pass and the masked runs; of each decoder block one."""
    return 2 * tiny_config.encoder_depth + tiny_config.decoder_depth


def test_fused_attention_gives_the_same_numbers(tiny_detector, attentions):
    model, images = packed_graph(PackedDetector(tiny_detector)), parity_images(3, 64)
    expected = outputs(model, {"images": images})
    assert operators(model)["Softmax"] == attentions
    model.opset_import.append(helper.make_opsetid(CONTRIB, 1))
    assert fuse_attention(model) == attentions
    found = operators(model)
    # one product is left for every weight, and one transpose, which cuts the image into patches
    assert (found["MultiHeadAttention"], found["Softmax"], found["Transpose"]) == (attentions, 0, 1)
    for new, old in zip(outputs(model, {"images": images}), expected, strict=True):
        np.testing.assert_allclose(new, old, rtol=1e-4, atol=1e-5)
    assert fuse_attention(model) == 0


def test_gelus_of_float32_products_stay_exact(tiny_detector, tiny_config):
    depth = tiny_config.encoder_depth + tiny_config.decoder_depth
    packed = PackedDetector(tiny_detector)
    recipe = dict.fromkeys(dense_layers(packed), Treatment("static", 0.0, 0.0, 0.02, 128))
    model = packed_graph(packed)
    assert fuse_gelu(model) == 0
    exact = operators(model)["Erf"]
    quantise_for_cpu(model, packed, recipe | {"encoder.blocks.1.fc2": Treatment("fp32", 0.0, 0.0)})
    assert operators(model)["FastGelu"] == depth - 1
    assert operators(model)["Erf"] == exact - (depth - 1)  # the head's, and the one before the float32 product
    assert not [node.name for node in model.graph.node if node.op_type == "FastGelu" and "head" in node.name]


def test_the_gelu_between_integer_products_is_off_by_less_than_a_step():
    x = np.linspace(-8, 8, 4001, dtype=np.float32)[None]
    constant = {"root": np.sqrt(np.float32(2)), "one": np.float32(1), "half": np.float32(0.5)}
    steps = [("Div", "x", "root", "d"), ("Erf", "d", "", "e"), ("Add", "e", "one", "a"), ("Mul", "x", "a", "m"),
             ("Mul", "m", "half", "y"), ("QuantizeLinear", "y", "one", "u8")]
    nodes = [helper.make_node(op, [name for name in (a, b) if name], [y]) for op, a, b, y in steps]
    value = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, x.size]) for name in ("x", "y")]
    weights = [onnx.numpy_helper.from_array(array, name) for name, array in constant.items()]
    graph = helper.make_graph(nodes, "gelu", value[:1], value[1:], weights)
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid(CONTRIB, 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    (exact,) = outputs(model, {"x": x})
    assert fuse_gelu(model) == 1
    assert operators(model) == {"FastGelu": 1}
    (found,) = outputs(model, {"x": x})
    assert 1e-4 < np.abs(found - exact).max() < TANH
