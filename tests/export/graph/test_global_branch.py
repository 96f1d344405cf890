"""A global encoder in the exported graph: plain, with registers and with rotary positions, against eager PyTorch."""

from __future__ import annotations

import onnx
import pytest
import torch
from builder_log import build_log, kernels
from cinemae.export.fused import export_fused, fused_graph
from cinemae.export.graph.packed import PackedDetector
from cinemae.export.parity import BATCHES, compare, eager_output, format_table, parity_images
from cinemae.runtime.core.errors import EngineError
from cinemae.runtime.core.manifest import HeadConfig
from cinemae.train.model.detector import CinemaeDetector
from cinemae.train.model.head import Head
from cinemae.train.weights.timm_encoder import describe_encoder, recorded_encoder
from random_parameters import randomise
from timm_files import PLAIN, REGISTERS, ROTARY, write_timm

POOLING = "test_vit3"
"""Attention pooling behind registers, as in SigLIP 2 and the Perception Encoder."""


@pytest.fixture(scope="module")
def beside(tmp_path_factory, tiny_detector, tiny_manifest):
    """A function of an architecture: `tiny_detector` with that encoder, and its manifest."""
    made = {}

    def make(name):
        if name not in made:
            info = describe_encoder(write_timm(tmp_path_factory.mktemp("timm") / "w.safetensors", name, "MIT"))
            backbone = tiny_manifest.backbone.model_copy(update={"global_encoder": info})
            head = Head(info.dim, HeadConfig(agg_hidden=(8, 12), cls_hidden=10))
            randomise(head)
            one = tiny_detector
            encoder = recorded_encoder(backbone)
            detector = CinemaeDetector(one.mae, head, one.visible.numpy(), one.method, encoder).eval()
            made[name] = detector, tiny_manifest.model_copy(update={"backbone": backbone})
        return made[name]

    return make


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("name", [PLAIN, REGISTERS, ROTARY, POOLING])
def test_one_engine_agrees_with_eager_at_every_batch_size(name, precision, beside, tmp_path):
    detector, manifest = beside(name)
    images = parity_images(max(BATCHES), 64)
    stored = export_fused(detector, manifest, tmp_path / "e.onnx", precision)
    assert stored.backbone.global_encoder.name == name
    rows = compare("engine", tmp_path / "e.onnx", images, eager_output(detector, images), precision)
    assert all(row.passed for row in rows), format_table(rows)
    model = onnx.shape_inference.infer_shapes(onnx.load(tmp_path / "e.onnx"))
    assert not {node.op_type for node in model.graph.node} & {"Shape", "Expand", "Where", "Split", "Range"}
    types = {value.name: value.type.tensor_type.elem_type for value in model.graph.value_info}
    types |= {tensor.name: tensor.data_type for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type in ("LayerNormalization", "Softmax"):
            assert {types[key] for key in node.input} == {onnx.TensorProto.FLOAT}, node.name
    if precision == "fp16":
        products = [node for node in model.graph.node if node.op_type in ("Conv", "MatMul")]
        floats = [node for node in products if onnx.TensorProto.FLOAT in {types[key] for key in node.input}]
        assert len(floats) == 2, "the resize of the crop alone"


def test_the_unmasked_pass_is_not_computed(beside):
    detector, _ = beside(PLAIN)
    packed, rows = PackedDetector(detector), []
    packed.encoder.blocks[0].q.register_forward_hook(lambda _, given, __: rows.append(len(given[0])))
    images = torch.from_numpy(parity_images(2, 64))
    with torch.no_grad():
        found, expected = packed(images), detector(images)
    torch.testing.assert_close(found.logit, expected.logit, rtol=1e-5, atol=1e-5)
    assert rows == [2 * 2 * (1 + 4)], "the visible tokens of two runs of two images"


@pytest.mark.slow
@pytest.mark.parametrize(("name", "attentions"), [(PLAIN, 6), (REGISTERS, 8), (ROTARY, 12)])
def test_builder_makes_one_kernel_an_attention(name, attentions, beside, rtx, tmp_path):
    detector, manifest = beside(name)
    export_fused(detector, manifest, tmp_path / "e.onnx", "fp16")
    found = kernels(build_log(rtx, tmp_path / "e.onnx", (1, 8, 32)))
    # none of the tiny decoder, whose heads of 8 values no attention kernel takes
    assert found.count("A") == attentions + detector.mae.config.encoder_depth, found


@pytest.mark.slow
def test_an_encoder_of_other_operators_is_refused_in_a_sentence(beside):
    with pytest.raises(EngineError, match="the global encoder needs GlobalAveragePool, which engines do not have"):
        fused_graph(beside("test_convnext")[0])
