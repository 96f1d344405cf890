"""Queries, keys and values as one product: the same numbers, and the kernels that TensorRT-RTX's builder logs."""

import re

import numpy as np
import onnx
import pytest
from builder_log import build_log, kernels
from cinemae.export.fused import fused_graph, packed_graph
from cinemae.export.graph.joined import join_products
from cinemae.export.graph.packed import PackedDetector
from cinemae.runtime.core.manifest import BackboneConfig, HeadConfig, MethodConfig
from cinemae.runtime.core.masks import draw_visible
from cinemae.runtime.engines.onnx.library import import_onnxruntime
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
