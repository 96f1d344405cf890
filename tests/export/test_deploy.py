"""Reports, Triton repositories and the options of the command around them."""

import importlib.util
import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from cinemae.export import cli
from cinemae.export.fused import export_fused
from cinemae.export.precision_report import quality_table
from cinemae.export.quality import measure, spread
from cinemae.export.triton import write_repository
from cinemae.runtime.engines.file.integrity import check_content
from cinemae.train.data.sample import Sample
from cinemae.train.fitting.checkpoint import save_checkpoint
from PIL import Image


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A GenImage-like tree of noise (ai) and ramps (nature)."""
    root = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    for split, count in (("train", 6), ("val", 4)):
        for label in ("ai", "nature"):
            folder = root / "stable_diffusion_v_1_5" / split / label
            folder.mkdir(parents=True)
            for i in range(count):
                ramp = np.linspace(0, 255, 80).reshape(1, 80, 1) * np.ones((80, 1, 3)) * (i + 1) / count
                pixels = rng.integers(0, 256, (80, 80, 3)) if label == "ai" else ramp
                Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{i}.png")
    return root


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory, tiny_detector, tiny_manifest):
    folder = tmp_path_factory.mktemp("deploy") / "checkpoint"
    masks = tiny_detector.visible.numpy()[None]
    return save_checkpoint(folder, tiny_detector.head, masks, tiny_manifest, embed=tiny_detector.mae)


def run(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["cinemae-export", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return ended.value.code


@pytest.mark.slow
def test_int8_export_with_report_and_triton(checkpoint, data, tmp_path, monkeypatch, capsys):
    code = run(monkeypatch, checkpoint, "--int8", "--qdq", "--calibration", data, "--report", data, "--out", tmp_path,
               "--triton", tmp_path / "triton")
    captured = capsys.readouterr()
    assert code == 0, captured.err
    assert captured.out.count("ok\n") == 6
    assert {p.name for p in tmp_path.iterdir()} == {
        "cinemae.onnx", "cinemae-qdq.onnx", "cinemae-qdq.reference.npz", "cinemae.report.md", "cinemae.report.json",
        "triton",
    }
    report = json.loads((tmp_path / "cinemae.report.json").read_text())
    assert report["quality"]["images"] == 8
    assert {item["kind"] for item in report["recipe"].values()} <= {"static", "row", "fp32"}
    assert "encoder.blocks.0" in report["peaks"]
    assert "for a plan, where TensorRT finds a GPU: cinemae-export" in captured.err
    text = (tmp_path / "cinemae.report.md").read_text()
    assert "| stable_diffusion_v_1_5 | 8 |" in text
    assert "8 images: " in text
    assert "| block | largest |" in text
    shown = captured.err + captured.out  # a table, not its Markdown source
    assert "AUC int8" in shown
    assert "|---" not in shown
    model = tmp_path / "triton" / "cinemae_onnx"
    assert (model / "1" / "model.onnx").read_bytes() == (tmp_path / "cinemae.onnx").read_bytes()


@pytest.mark.parametrize(("arguments", "message"), [
    (["--int8"], "--int8 needs --calibration"),
    (["--fp16", "--int8"], "exclude each other"),
    (["--qdq"], "goes with --int8"),
    (["--report", "x"], "measures what --fp16 or --int8 costs"),
    (["--max-batch", "0"], "batch profile"),
    (["--hardware-compatibility", "volta"], "must be one of none, same_compute_capability, ampere_plus"),
])
def test_options_that_contradict_each_other(arguments, message, monkeypatch, capsys):
    assert run(monkeypatch, "nowhere", *arguments) == 2
    assert message in capsys.readouterr().err


def test_engine_as_source(tiny_detector, tiny_manifest, tmp_path, monkeypatch, capsys):
    export_fused(tiny_detector, tiny_manifest, tmp_path / "mine.onnx")
    assert run(monkeypatch, tmp_path / "mine.onnx") == 2
    assert "is an engine already" in capsys.readouterr().err
    assert run(monkeypatch, tmp_path / "missing.onnx", "--triton", tmp_path / "t") == 3
    assert run(monkeypatch, tmp_path / "mine.onnx", "--triton", tmp_path / "t") == 0
    assert (tmp_path / "t" / "mine_onnx" / "config.pbtxt").is_file()


def test_deploying_an_engine_needs_no_torch(tiny_detector, tiny_manifest, tmp_path):
    export_fused(tiny_detector, tiny_manifest, tmp_path / "mine.onnx")
    code = "import sys\nsys.modules['torch'] = sys.modules['onnx'] = None\nfrom cinemae.export.cli import main\nmain()"
    arguments = [str(tmp_path / "mine.onnx"), "--triton", str(tmp_path / "t")]
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_report_compares_the_same_engine_as_equal(tiny_detector, tiny_manifest, data, tmp_path):
    export_fused(tiny_detector, tiny_manifest, tmp_path / "a.onnx")
    folder = data / "stable_diffusion_v_1_5" / "val"
    samples = [Sample(str(p), int(p.parent.name == "ai"), "x", "val") for p in sorted(folder.rglob("*.png"))]
    quality = measure(tmp_path / "a.onnx", tmp_path / "a.onnx", samples)
    assert (quality.images, quality.agreement, quality.max_logit, quality.lcas) == (8, 1.0, 0.0, 0.0)
    assert quality.generators[0].auc[0] == quality.generators[0].auc[1]
    assert "100.00%" in quality_table(replace(quality, precision="fp16")).plain()


def test_spread_is_even_and_keeps_the_ends():
    assert spread(list(range(100)), 3) == [0, 50, 99]
    assert spread([1, 2], 3) == [1, 2]


@pytest.mark.parametrize("suffix", [".onnx", ".plan"])
def test_triton_configuration(suffix, tiny_detector, tiny_manifest, tmp_path):
    engine = tmp_path / f"engine{suffix}"
    manifest = export_fused(tiny_detector, tiny_manifest, tmp_path / "engine.onnx")
    engine.write_bytes((tmp_path / "engine.onnx").read_bytes())
    digest = check_content(tmp_path / "engine.onnx")
    model = write_repository(engine, manifest, digest, tmp_path / "repository", "cinemae", (1, 4, 16))
    text = (model / "config.pbtxt").read_text()
    assert sorted(p.name for p in model.rglob("*")) == ["1", "config.pbtxt", f"model{suffix}"]
    assert 'name: "cinemae"' in text
    assert "max_batch_size: 16" in text
    assert "preferred_batch_size: [ 4, 16 ]" in text
    assert "dims: [ 64, 64, 3 ]" in text
    assert ("tensorrt_plan" in text) == (suffix == ".plan")
    assert digest in text
    assert text.count("{") == text.count("}")
    assert re.search(r'name: "logit" data_type: TYPE_FP32 dims: \[ 1 \] reshape: \{ shape: \[ \] \}', text)


def test_triton_captures_cuda_graphs_for_the_buckets_of_a_plan_and_names_its_tensorrt(
    tiny_detector, tiny_manifest, tmp_path
):
    manifest = export_fused(tiny_detector, tiny_manifest, tmp_path / "engine.onnx")
    plan = tmp_path / "engine.plan"
    plan.write_bytes(b"plan")
    model = write_repository(plan, manifest, "0" * 64, tmp_path / "triton", "cinemae", (1, 4, 6), "10.3.0.26")
    text = (model / "config.pbtxt").read_text()
    specs = re.findall(r"graph_spec { batch_size: (\d+) .* graph_lower_bound { batch_size: (\d+) ", text)
    assert specs == [("1", "1"), ("2", "2"), ("4", "3"), ("6", "5")]
    assert text.count('key: "images" value { dim: [ 64, 64, 3 ] }') == 8
    assert "TensorRT 10.3.0.26" in text
    assert 'profile: ["0", "1"]' in text
    onnx = write_repository(tmp_path / "engine.onnx", manifest, "0" * 64, tmp_path / "triton", "other")
    assert not re.search("graph|profile", (onnx / "config.pbtxt").read_text())


def triton_schema():
    """Triton's ModelConfig message out of tritonclient, without the gRPC that importing the package asks for."""
    package = importlib.util.find_spec("tritonclient")
    if package is None:
        pytest.skip("needs tritonclient")
    path = Path(package.submodule_search_locations[0]) / "grpc" / "model_config_pb2.py"
    spec = importlib.util.spec_from_file_location("model_config_pb2", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_triton_configuration_parses_as_its_schema(tiny_detector, tiny_manifest, tmp_path):
    schema = triton_schema()
    from google.protobuf import text_format

    manifest = export_fused(tiny_detector, tiny_manifest, tmp_path / "engine.onnx")
    model = write_repository(tmp_path / "engine.onnx", manifest, "0" * 64, tmp_path / "repository", "cinemae")
    config = text_format.Parse((model / "config.pbtxt").read_text(), schema.ModelConfig())
    assert config.max_batch_size == 32
    assert [o.name for o in config.output] == ["logit", "stats", "lcas"]
    assert config.input[0].data_type == schema.TYPE_UINT8
    (tmp_path / "engine.plan").write_bytes(b"plan")
    folder = tmp_path / "repository"
    model = write_repository(tmp_path / "engine.plan", manifest, "0" * 64, folder, "plan", (1, 2, 4), "10.3")
    cuda = text_format.Parse((model / "config.pbtxt").read_text(), schema.ModelConfig()).optimization.cuda
    assert cuda.graphs
    assert [(g.batch_size, g.graph_lower_bound.batch_size) for g in cuda.graph_spec] == [(1, 1), (2, 2), (4, 3)]
