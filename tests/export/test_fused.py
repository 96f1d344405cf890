"""Exported files against eager PyTorch: parity, batches against singles, what the graph holds, atomic writes."""

import copy
import dataclasses

import numpy as np
import onnx
import pytest
import torch
from cinemae.export import parity
from cinemae.export.engine_file import write_engine
from cinemae.export.fused import export_fused, fused_graph
from cinemae.export.parity import BATCHES, compare, eager_output, format_table, parity_images, relative, require
from cinemae.export.parts import export_parts
from cinemae.runtime.core.errors import EngineError, ParityError, UsageError
from cinemae.runtime.core.golden import golden_image
from cinemae.runtime.core.manifest import METADATA_KEY, HeadConfig, Manifest
from cinemae.runtime.engines.file.integrity import check_content
from cinemae.runtime.engines.load import load_engine
from cinemae.train.model.detector import CinemaeDetector
from cinemae.train.model.head import Head
from random_parameters import randomise
from steady_engine import SteadyEngine

PORTABLE = {
    "Abs", "Add", "Cast", "Clip", "Concat", "Div", "Erf", "Gather", "Gemm", "LayerNormalization", "Log", "MatMul",
    "Mul", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceSum", "Reshape", "Sigmoid", "Slice", "Softmax", "Sqrt", "Sub",
    "Transpose", "Unsqueeze",
}
"""What the packed graph may be made of: nothing that TensorRT 8.6 lacks, no shape arithmetic, no control flow."""


@pytest.fixture(params=["fp32", "fp16", "parts"])
def exported(request, tiny_engine, tiny_fp16_engine, tiny_parts):
    """Path and precision."""
    paths = {"fp32": tiny_engine, "fp16": tiny_fp16_engine, "parts": tiny_parts}
    return paths[request.param], "fp16" if request.param == "fp16" else "fp32"


def test_agrees_with_eager_at_every_batch_size(exported, tiny_detector):
    images = parity_images(max(BATCHES), 64)
    rows = compare("engine", exported[0], images, eager_output(tiny_detector, images), exported[1])
    assert [row.batch for row in rows] == [1, 2, 7]
    assert all(row.passed for row in rows), format_table(rows)


def test_parity_notices_a_changed_model(tiny_engine, tiny_detector):
    images = parity_images(max(BATCHES), 64)
    expected = eager_output(tiny_detector, images)
    wrong = dataclasses.replace(expected, lcas=expected.lcas * 1.01)
    rows = compare("fused", tiny_engine, images, wrong, "fp32")
    with pytest.raises(ParityError, match="beyond tolerance: fused at batch 1"):
        require(rows)


@pytest.mark.parametrize(("logit", "passed"), [(-13.0, True), (-0.5, False)])
def test_a_large_logit_may_err_in_proportion(tiny_manifest, monkeypatch, logit, passed):
    """An error of 1.1e-4 between a batch and singles is rounding at logit -13 (nine millionths), not at -0.5."""

    class Erring(SteadyEngine):
        def infer(self, images):
            output = super().infer(images)
            return dataclasses.replace(output, logit=output.logit - 1.1e-4 * (len(images) > 1))

    monkeypatch.setattr(parity, "load_engine", lambda path, device: Erring(tiny_manifest, logit))
    images = parity_images(max(BATCHES), 64)
    expected = SteadyEngine(tiny_manifest, logit).infer(images)
    assert all(row.passed for row in compare("head", None, images, expected, "fp32")) == passed


def test_the_golden_tolerance_grows_with_the_logit(tmp_path, tiny_detector, tiny_manifest):
    detector = copy.deepcopy(tiny_detector)
    with torch.no_grad():
        detector.head.mlp_cls[-1].bias.fill_(-40)
    golden = export_fused(detector, tiny_manifest, tmp_path / "e.onnx").golden
    assert golden.logit < -10
    assert golden.tolerance == pytest.approx(2e-3 * -golden.logit)


def test_a_backbone_that_leaves_half_precision_is_one_sentence(tmp_path, tiny_detector, tiny_manifest):
    detector = copy.deepcopy(tiny_detector)
    with torch.no_grad():
        for block in detector.mae.blocks:
            block.mlp.fc2.weight *= 1e5
    export_fused(detector, tiny_manifest, tmp_path / "e.onnx")
    with pytest.raises(EngineError, match=r"not finite in fp16; .* export without --fp16"):
        export_fused(detector, tiny_manifest, tmp_path / "half.onnx", "fp16")
    assert [path.name for path in tmp_path.iterdir()] == ["e.onnx"]


def test_relative_error_is_absolute_near_zero_and_strict_about_nan():
    assert relative(np.array([1e-4]), np.array([0.0])) == pytest.approx(1e-4)
    assert relative(np.array([101.0]), np.array([100.0])) == pytest.approx(0.01)
    assert relative(np.array([np.nan, 1.0]), np.array([np.nan, 1.0])) == 0
    assert relative(np.array([np.nan]), np.array([1.0])) == float("inf")


def test_graph_is_portable(tiny_engine):
    model = onnx.load(tiny_engine)
    onnx.checker.check_model(model, full_check=True)
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", 17)]
    assert {node.op_type for node in model.graph.node} <= PORTABLE
    assert [value.name for value in model.graph.input] == ["images"]
    assert [value.name for value in model.graph.output] == ["logit", "stats", "lcas"]
    assert not [node for node in model.graph.node if node.doc_string]


def test_fp16_graph_keeps_norm_softmax_and_head_in_float32(tiny_fp16_engine):
    model = onnx.shape_inference.infer_shapes(onnx.load(tiny_fp16_engine))
    types = {value.name: value.type.tensor_type.elem_type for value in model.graph.value_info}
    types |= {tensor.name: tensor.data_type for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type in ("LayerNormalization", "Softmax", "Gemm", "Log", "Sqrt", "ReduceMean"):
            assert {types[name] for name in node.input} == {onnx.TensorProto.FLOAT}, node.name
    assert onnx.TensorProto.FLOAT16 in {types[n.input[1]] for n in model.graph.node if n.op_type == "MatMul"}
    matmuls = [n for n in model.graph.node if n.op_type == "MatMul"]
    assert {types[n.input[0]] for n in matmuls} == {onnx.TensorProto.FLOAT16}


def test_export_is_reproducible(tiny_engine, tiny_detector, tiny_manifest, tmp_path):
    export_fused(tiny_detector, tiny_manifest, tmp_path / "again.onnx")
    assert (tmp_path / "again.onnx").read_bytes() == tiny_engine.read_bytes()


def test_manifest_hash_and_golden_logit(tiny_engine, tiny_detector, tiny_manifest):
    metadata = {entry.key: entry.value for entry in onnx.load(tiny_engine).metadata_props}
    manifest = Manifest.from_json(metadata[METADATA_KEY], tiny_engine)
    assert manifest.kind == "fused"
    assert manifest.masks == tiny_manifest.masks
    assert manifest.content_sha256 == check_content(tiny_engine)
    golden = eager_output(tiny_detector, golden_image(64)[None]).logit[0]
    assert manifest.golden.logit == pytest.approx(golden, abs=1e-3)
    assert manifest.tools["opset"] == "17"


@pytest.mark.slow
def test_weights_above_the_limit_go_beside_the_graph(tmp_path, tiny_detector, tiny_manifest, random_images):
    path = tmp_path / "big.onnx"
    fused = tiny_manifest.model_copy(update={"kind": "fused"})
    manifest = write_engine(fused_graph(tiny_detector), fused, path, external_above=10_000)
    assert set(manifest.external_data) == {"big.onnx.data"}
    with load_engine(path, device="cpu") as engine:
        found = engine.infer(random_images).logit
    np.testing.assert_allclose(found, eager_output(tiny_detector, random_images).logit, atol=1e-3)
    data = bytearray((tmp_path / "big.onnx.data").read_bytes())
    data[-1] ^= 1
    (tmp_path / "big.onnx.data").write_bytes(data)
    with pytest.raises(EngineError, match=r"big.onnx.data: does not match"):
        load_engine(path, device="cpu")
    write_engine(fused_graph(tiny_detector), fused, path)
    assert [p.name for p in tmp_path.iterdir()] == ["big.onnx"]


def test_failed_export_leaves_the_old_file(tmp_path, tiny_detector, tiny_manifest):
    path = tmp_path / "engine.onnx"
    path.write_bytes(b"old")

    def fails(_):
        raise EngineError("no")

    with pytest.raises(EngineError, match="no"):
        write_engine(fused_graph(tiny_detector), tiny_manifest, path, fails)
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["engine.onnx"]


def test_bundled_engine_is_never_overwritten(tmp_path, tiny_detector, tiny_manifest):
    with pytest.raises(UsageError, match="belongs to the bundled engine"):
        export_fused(tiny_detector, tiny_manifest, tmp_path / "cinemae-demo.onnx")
    assert not list(tmp_path.iterdir())


def test_a_logistic_head_is_the_same_in_every_engine(tiny_detector, tiny_manifest, tmp_path):
    config = HeadConfig(kind="logistic")
    head = Head(32, config).eval()
    randomise(head, seed=3)
    head.centre.normal_(generator=torch.Generator().manual_seed(4))
    detector = CinemaeDetector(tiny_detector.mae, head, tiny_detector.visible.numpy(), tiny_detector.method).eval()
    manifest, images = tiny_manifest.model_copy(update={"head": config}), parity_images(max(BATCHES), 64)
    expected, stored = eager_output(detector, images), export_fused(detector, manifest, tmp_path / "e.onnx")
    export_fused(detector, manifest, tmp_path / "e16.onnx", "fp16")
    assert stored.head == config
    assert np.ptp(expected.logit) > 0.1
    assert {node.op_type for node in onnx.load(tmp_path / "e.onnx").graph.node} <= PORTABLE
    candidates = {"fused": (tmp_path / "e.onnx", "fp32"), "fp16": (tmp_path / "e16.onnx", "fp16"),
                  "parts": (export_parts(detector, manifest, tmp_path / "parts"), "fp32")}
    rows = parity.parity_table(candidates, images, expected)
    assert all(row.passed for row in rows), format_table(rows)


def test_parts_and_fused_agree_on_the_mean_of_the_patch_tokens(tiny_detector, tiny_manifest, tmp_path, random_images):
    """Where f_global is that mean; the two share no code."""
    method = tiny_detector.method.model_copy(update={"f_global": "mean"})
    detector = CinemaeDetector(tiny_detector.mae, tiny_detector.head, tiny_detector.visible.numpy(), method)
    manifest = tiny_manifest.model_copy(update={"method": method})
    export_fused(detector, manifest, tmp_path / "mean.onnx")
    fused = load_engine(tmp_path / "mean.onnx").infer(random_images)
    parts = load_engine(export_parts(detector, manifest, tmp_path / "parts")).infer(random_images)
    np.testing.assert_allclose(fused.logit, parts.logit, atol=parity.TOLERANCES["fp32"].logit)
    assert not np.allclose(fused.logit, eager_output(tiny_detector, random_images).logit, atol=1e-3)
