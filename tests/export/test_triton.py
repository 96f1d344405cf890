"""Triton repositories: shapes, batches, CUDA graphs for a plan's buckets, and the schema of Triton itself."""

import importlib.util
import re
import shutil
from pathlib import Path

import pytest
from cinemae.export.triton import write_repository
from cinemae.runtime.core.files import file_sha256
from cinemae.runtime.engines.file.header import read_manifest
from cinemae.runtime.engines.tensorrt.sidecar import PlanSidecar, sidecar_path


@pytest.fixture
def engines(tiny_engine, tmp_path):
    """An ONNX engine, and a plan that a sidecar describes."""
    onnx, plan = Path(shutil.copy(tiny_engine, tmp_path / "engine.onnx")), tmp_path / "engine.plan"
    plan.write_bytes(b"plan")
    manifest = read_manifest(onnx)
    sidecar = PlanSidecar(
        manifest=manifest, tensorrt="10.3.0.26", gpu="L4", platform="linux x86_64", compute_capability="8.9",
        batch=(1, 4, 6), plan_sha256=file_sha256(plan), source=onnx.name, source_sha256=manifest.content_sha256,
    )
    sidecar_path(plan).write_text(sidecar.model_dump_json())
    return {".onnx": (onnx, manifest.content_sha256), ".plan": (plan, sidecar.plan_sha256)}


@pytest.mark.parametrize("suffix", [".onnx", ".plan"])
def test_configuration(suffix, engines, tmp_path):
    engine, digest = engines[suffix]
    model = write_repository(engine, tmp_path / "repository", "cinemae", (1, 4, 6))
    text = (model / "config.pbtxt").read_text()
    assert sorted(p.name for p in model.rglob("*")) == ["1", "config.pbtxt", f"model{suffix}"]
    for part in ('name: "cinemae"', "max_batch_size: 6", "preferred_batch_size: [ 4, 6 ]", "[ 64, 64, 3 ]", digest):
        assert part in text
    assert text.count("{") == text.count("}")
    assert re.search(r'name: "logit" data_type: TYPE_FP32 dims: \[ 1 \] reshape: \{ shape: \[ \] \}', text)
    assert ("tensorrt_plan" in text) == (suffix == ".plan")
    specs = re.findall(r"graph_spec { batch_size: (\d+) .* graph_lower_bound { batch_size: (\d+) ", text)
    if suffix == ".plan":
        assert specs == [("1", "1"), ("2", "2"), ("4", "3"), ("6", "5")]
        assert text.count('key: "images" value { dim: [ 64, 64, 3 ] }') == 8
        assert "TensorRT 10.3.0.26" in text
        assert 'profile: ["0", "1"]' in text
    else:
        assert not re.search("graph|profile", text)


def test_configuration_parses_as_tritons_schema(engines, tmp_path):
    package = importlib.util.find_spec("tritonclient")
    if package is None:
        pytest.skip("needs tritonclient")
    # without the gRPC that importing the package asks for
    path = Path(package.submodule_search_locations[0]) / "grpc" / "model_config_pb2.py"
    spec = importlib.util.spec_from_file_location("model_config_pb2", path)
    schema = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(schema)
    from google.protobuf import text_format

    onnx, plan = (
        text_format.Parse((write_repository(engine, tmp_path, name) / "config.pbtxt").read_text(), schema.ModelConfig())
        for name, (engine, _) in engines.items()
    )
    assert onnx.max_batch_size == 32
    assert [o.name for o in onnx.output] == ["logit", "stats", "lcas"]
    assert onnx.input[0].data_type == schema.TYPE_UINT8
    cuda = plan.optimization.cuda
    assert cuda.graphs
    assert [(g.batch_size, g.graph_lower_bound.batch_size) for g in cuda.graph_spec] == [(1, 1), (2, 2), (4, 3), (6, 5)]
