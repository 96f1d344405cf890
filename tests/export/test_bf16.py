"""bf16 engines: types in the graph, drift, their own calibration; float32 engines in bf16 when asked."""

import numpy as np
import onnx
import pytest
from cinemae.export.fused import export_fused, fused_graph
from cinemae.export.parity import BATCHES, TOLERANCES, differences, eager_output, parity_images, within
from cinemae.export.web.site import write_site
from cinemae.runtime.core.errors import EngineError, MissingDependencyError, UsageError
from cinemae.runtime.diagnose.doctor import engine_findings
from cinemae.runtime.engines.file.header import read_manifest
from cinemae.runtime.engines.load import load_engine
from cinemae.runtime.engines.openvino import import_openvino
from cinemae.runtime.scoring.detector import Detector
from cinemae.runtime.scoring.options import EngineOptions
from onnx import TensorProto

AROUND = 0.1
"""Distance from a threshold within which bf16 may turn a verdict: twice the tolerance of a logit near 0."""


@pytest.fixture(scope="module", autouse=True)
def bf16_cpu():
    pytest.importorskip("openvino", reason="needs the extra openvino")
    if "BF16" not in import_openvino().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        pytest.skip("this CPU has no bfloat16 instructions")


@pytest.fixture(scope="module")
def engine_path(made_once, tiny_detector, tiny_manifest):
    return made_once("bf16.onnx", lambda path: export_fused(tiny_detector, tiny_manifest, path, "bf16"))


def test_products_are_bfloat16_and_the_rest_float32(tiny_detector):
    graph = onnx.shape_inference.infer_shapes(fused_graph(tiny_detector, "bf16")).graph
    kind = {value.name: value.type.tensor_type.elem_type for value in (*graph.value_info, *graph.output)}
    made = {name: {kind[node.output[0]] for node in graph.node if node.op_type == name} for name in (
        "LayerNormalization", "Softmax", "ReduceMean", "Log", "Sqrt"
    )}
    assert all(found <= {TensorProto.FLOAT} for found in made.values()), made
    products = [node for node in graph.node if node.op_type in ("MatMul", "Gemm")]
    wide = [node for node in products if any(
        name.startswith(("head.", "encoder.embed", "decoder.pred")) for name in node.input
    )]
    assert len(wide) > 3
    assert {kind[node.output[0]] for node in wide} == {TensorProto.FLOAT}
    assert {kind[node.output[0]] for node in products if node not in wide} == {TensorProto.BFLOAT16}


def test_flat_images_and_batches_stay_within_the_tolerance(engine_path, tiny_detector):
    flat = np.stack([np.full((64, 64, 3), value, np.uint8) for value in (0, 1, 64, 127, 128, 250, 255)])
    for images in (flat, parity_images(max(BATCHES), 64)):
        with load_engine(engine_path, "auto", threads=1) as engine:
            assert (engine.provider, engine.manifest.precision) == ("OpenVINO", "bf16")
            found = engine.infer(images)
            singles = np.concatenate([engine.infer(image[None]).logit for image in images])
        off = differences(found, eager_output(tiny_detector, images), "bf16")
        assert within(off, "bf16"), off
        assert max(off) > TOLERANCES["fp32"].logit / 100  # bfloat16 it is
        np.testing.assert_allclose(found.logit, singles, atol=TOLERANCES["bf16"].batch)


@pytest.mark.slow
def test_export_measures_its_own_calibration(fitted, image_tree, tmp_path, command):
    checkpoint = fitted / "runs" / "checkpoint"
    for name, more in (("plain", ()), ("own", ("--calibration", image_tree))):
        done = command(checkpoint, "--bf16", "--out", tmp_path, "--name", name, *more)
        assert done.code == 0, done.err
        assert "tolerances bf16" in done.out
    plain, own = (read_manifest(tmp_path / f"{name}.onnx") for name in ("plain", "own"))
    assert (own.precision, own.golden) == ("bf16", plain.golden)
    assert "in bf16" in own.calibration.fitted_on
    assert own.calibration.n_ai == 16
    assert own.calibration.likelihood != plain.calibration.likelihood
    refused = command(checkpoint, "--bf16", "--out", tmp_path, "--calibration", image_tree / "gen_a" / "train")
    assert refused.code == 2


def test_a_float32_engine_changes_only_when_asked(tiny_engine, random_images):
    plain, asked = (load_engine(tiny_engine, "openvino", None, precision) for precision in (None, "bf16"))
    expected = load_engine(tiny_engine, "cpu").infer(random_images).logit
    off = [np.abs(engine.infer(random_images).logit - expected).max() for engine in (plain, asked)]
    assert off[0] < TOLERANCES["fp32"].logit
    assert off[0] * 10 < off[1] < TOLERANCES["bf16"].logit
    runs = [Detector.load(tiny_engine, device="openvino", precision=precision).run for precision in (None, "bf16")]
    assert [run.precision for run in runs] == ["fp32", "bf16"]


def verdicts_differ_only_near_a_threshold(data_root, *engines):
    """A float32 and a bfloat16 engine on the files of `raw`."""
    paths = sorted(path for path in (data_root / "raw").rglob("*") if path.is_file())
    pairs = list(zip(*(Detector.load(path, **how).detect_many(paths) for path, how in engines), strict=True))
    assert len(pairs) == 40
    assert any(a.logit != b.logit for a, b in pairs)
    for full, low in pairs:
        near = [edge for edge in (full.run.ai_from, full.run.real_below) if edge is not None]
        assert abs(full.logit - low.logit) < AROUND
        assert full.verdict == low.verdict or min(abs(full.logit - edge) for edge in near) < AROUND, full.path


@pytest.mark.slow
def test_verdicts_of_the_bundled_engine_asked_for_bf16(data_root):
    verdicts_differ_only_near_a_threshold(
        data_root, (None, {"device": "openvino"}), (None, {"device": "openvino", "precision": "bf16"})
    )


@pytest.mark.slow
def test_verdicts_of_a_bf16_engine(fitted, data_root, tmp_path, command):
    for name, precision in (("full", ()), ("low", ("--bf16",))):
        done = command(fitted / "runs" / "checkpoint", "--out", tmp_path, "--name", name, *precision)
        assert done.code == 0, done.err
    verdicts_differ_only_near_a_threshold(data_root, *((tmp_path / f"{name}.onnx", {}) for name in ("full", "low")))


def test_what_bf16_does_not_serve_is_refused(tiny_engine, tiny_fp16_engine, engine_path, tiny_parts):
    for path, device in ((tiny_engine, "cuda"), (tiny_fp16_engine, "cpu"), (tiny_parts, "auto")):
        with pytest.raises(UsageError, match="--precision"):
            load_engine(path, device, None, "bf16")
    with pytest.raises(UsageError, match="unknown precision 'fp8'"):
        Detector.load(tiny_engine, precision="fp8")


def test_a_site_for_browsers_is_refused(engine_path, tmp_path):
    with pytest.raises(EngineError, match="onnxruntime-web cannot run bfloat16"):
        write_site(engine_path, read_manifest(engine_path), tmp_path, None)


def test_devices_of_openvino_are_passed_through(tiny_engine):
    assert load_engine(tiny_engine, "openvino:CPU").provider == "OpenVINO"
    with pytest.raises(MissingDependencyError, match=r"no device TPU here, only .*CPU"):
        load_engine(tiny_engine, "openvino:TPU")
    for wrong in ("openvino:", "cuda:0"):
        with pytest.raises(UsageError, match="unknown device"):
            load_engine(tiny_engine, wrong)


def test_the_doctor_tests_a_bf16_engine(engine_path):
    found = {one.topic: one for one in engine_findings(EngineOptions(engine=engine_path))}
    assert found["self-test"].level == "ok", found["self-test"]


def test_the_parser_of_tensorrt_rtx_takes_the_types(rtx, engine_path):
    logger = rtx.Logger(rtx.Logger.ERROR)
    network = rtx.Builder(logger).create_network(1 << int(rtx.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = rtx.OnnxParser(network, logger)
    assert parser.parse_from_file(str(engine_path)), [parser.get_error(i).desc() for i in range(parser.num_errors)]
    layers = [network.get_layer(index) for index in range(network.num_layers)]
    kinds = {layer.get_output(0).dtype for layer in layers if layer.type == rtx.LayerType.MATRIX_MULTIPLY}
    assert kinds == {rtx.bfloat16, rtx.float32}
