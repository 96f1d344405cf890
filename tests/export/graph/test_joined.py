"""Queries, keys and values as one product: the same numbers, and the kernels that TensorRT-RTX's builder logs."""

import re

import numpy as np
import onnx
import pytest
from builder_log import build_log, kernels
from cinemae.export.fused import fused_graph, packed_graph
from cinemae.export.graph.joined import join_products
from cinemae.export.graph.packed import PackedDetector
from cinemae.export.graph.tracing import HALF_QDQ_OPSET, drop_unused
from cinemae.export.int8.ranges import dense_layers
from cinemae.export.int8.recipe import Treatment
from cinemae.export.int8.rewrite import quantise_for_tensorrt
from cinemae.runtime.core.manifest import BackboneConfig, HeadConfig, MethodConfig
from cinemae.runtime.core.masks import draw_visible
from cinemae.runtime.engines.onnx.library import import_onnxruntime
from tensorrt_fakes import real_rtx
from untrained import untrained_detector

DEPTH = 3
"""A first, a middle and a last block: the packed graph treats the three differently."""

ATTENTIONS = 3 * DEPTH
"""Of each encoder block two, the full pass and the masked runs; of each decoder block one."""


@pytest.fixture(scope="module")
def detector():
    config = BackboneConfig(
        encoder_dim=128, encoder_depth=DEPTH, encoder_heads=2, decoder_dim=64, decoder_depth=DEPTH, decoder_heads=2
    )
    visible = draw_visible(config.n_patches, 2, "balanced", 0)
    return untrained_detector(config, MethodConfig(), visible, HeadConfig())


@pytest.fixture(scope="module")
def rtx():
    found = real_rtx()
    if found is None:
        pytest.skip("needs tensorrt-rtx-cu13-bindings and onnxruntime-ep-nv-tensorrt-rtx-cu13")
    return found


def outputs(model, images):
    onnx.checker.check_model(model, full_check=True)
    session = import_onnxruntime().InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"images": images})


def test_joined_products_give_the_same_numbers(detector):
    images = np.random.default_rng(0).integers(0, 256, (3, 224, 224, 3), dtype=np.uint8)
    model = packed_graph(PackedDetector(detector))
    expected = outputs(model, images)
    products = sum(node.op_type == "MatMul" for node in model.graph.node)
    # queries, keys and values become one; in the last blocks keys and values, whose queries are of fewer tokens
    assert join_products(model) == 2 * (2 * (DEPTH - 1) + 1)
    assert sum(node.op_type == "MatMul" for node in model.graph.node) == products - 2 * (2 * (DEPTH - 1) + 1)
    for found, wanted in zip(outputs(model, images), expected, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)
    assert join_products(model) == 0


def quantised(detector, half):
    """The graph of `--int8 --qdq` with every product static, in one step for all."""
    packed = PackedDetector(detector)
    recipe = dict.fromkeys(dense_layers(packed), Treatment("static", 0.0, 0.0, 0.05, 128))
    model = packed_graph(packed.to_half() if half else packed, HALF_QDQ_OPSET)
    quantise_for_tensorrt(model, packed, recipe)
    return model


@pytest.mark.slow
def test_quantised_products_are_joined_with_their_scales(detector, monkeypatch):
    images = np.random.default_rng(0).integers(0, 256, (2, 224, 224, 3), dtype=np.uint8)
    model = quantised(detector, half=False)
    cuts = sum(node.name.endswith(".joined.cut") for node in model.graph.node)
    assert cuts == 2 * DEPTH
    with monkeypatch.context() as patch:
        patch.setattr("cinemae.export.int8.rewrite.join_products", drop_unused)
        apart = quantised(detector, half=False)
    fewer = 2 * (2 * (DEPTH - 1) + 1)
    for kind in ("MatMul", "DequantizeLinear"):
        before, after = (sum(node.op_type == kind for node in graph.graph.node) for graph in (apart, model))
        assert before - after == fewer, kind
    for found, wanted in zip(outputs(model, images), outputs(apart, images), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.slow
def test_only_the_graph_for_gpus_is_joined(detector):
    assert not any(node.name.endswith(".joined.cut") for node in fused_graph(detector).graph.node)
    assert any(node.name.endswith(".joined.cut") for node in fused_graph(detector, "fp16").graph.node)


def test_builder_makes_one_kernel_an_attention_and_one_copy_before_it(detector, rtx, tmp_path):
    onnx.save(fused_graph(detector, "fp16"), tmp_path / "engine.onnx")
    found = kernels(build_log(rtx, tmp_path / "engine.onnx", (1, 8, 32)))
    assert found.count("A") == ATTENTIONS, found  # an attention that is split shows no attention kernel
    encoder, decoder = re.findall(r"GcAAc+G", found), re.findall(r"Gc?AG|GcAcG", found)
    assert (len(encoder), len(decoder)) == (DEPTH, DEPTH), found
    assert encoder[:-1] == ["GcAAcG"] * (DEPTH - 1), found
    assert decoder[:-1] == ["GcAG"] * (DEPTH - 1), found
    assert found.count("c") <= 14, found


@pytest.mark.slow
def test_builder_makes_one_kernel_an_attention_of_the_quantised_graph_too(detector, rtx, tmp_path):
    onnx.save(quantised(detector, half=True), tmp_path / "engine.onnx")
    found = kernels(build_log(rtx, tmp_path / "engine.onnx", (1, 8, 32)))
    assert found.count("A") == ATTENTIONS, found
    encoder, decoder = re.findall(r"Gc+AAc+G", found), re.findall(r"Gc+Ac+G", found)
    assert encoder[:2] == ["GcAAcG"] * (DEPTH - 1), found  # three copies before the attention without the join
    assert decoder[:2] == ["GcAcG"] * (DEPTH - 1), found
    assert found.count("c") <= 15, found  # 23 without
