"""cinemae-export as a command: what it writes, prints, refuses and exits with."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace

import pytest
from cinemae.export import parity
from cinemae.export.hub import card
from cinemae.export.quality import labelled, measure, quality_table, spread
from cinemae.export.refusals import engine_licence
from cinemae.runtime.core.errors import EngineError
from cinemae.runtime.engines.file.header import read_manifest
from cinemae.train.fitting.checkpoint_folder import update_checkpoint


def test_writes_engine_and_parts_and_prints_the_table(command, tiny_checkpoint, tmp_path):
    done = command(tiny_checkpoint, "--parts", "--out", tmp_path)
    assert done.code == 0, done.err
    assert sorted(str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*.onnx")) == [
        "cinemae-parts/decoder.onnx", "cinemae-parts/encoder.onnx", "cinemae-parts/head.onnx", "cinemae.onnx",
    ]
    assert done.out.count("ok\n") == 6
    assert "tolerances fp32: logit 0.001" in done.out


def test_parity_beyond_tolerance_exits_3(command, tiny_checkpoint, tmp_path, monkeypatch):
    monkeypatch.setitem(parity.TOLERANCES, "fp32", parity.Tolerance(logit=0.0, lcas=0.0, batch=1.0))
    done = command(tiny_checkpoint, "--out", tmp_path)
    assert done.code == 3
    assert "FAILED" in done.out
    assert "error: beyond tolerance: fused fp32" in done.err


@pytest.mark.parametrize(("line", "message"), [
    ("--name cinemae-demo", "belongs to the bundled engine"),
    ("--name a/b", "must be a file name"),
    ("--out best.onnx", "--name best"),
    ("nowhere --int8", "--int8 needs --calibration"),
    ("nowhere --fp16 --int8", "exclude each other"),
    ("nowhere --bf16 --fp16", "exclude each other"),
    ("nowhere --report x", "--report is for --fp16, --bf16 and --int8"),
    ("nowhere --ort x", "it goes with --web"),
    *((f"nowhere {option}", "batch profile") for option in ("--min-batch 0", "--min-batch 9", "--max-batch 4")),
    ("nowhere --hardware-compatibility volta", "must be one of none, same_compute_capability, ampere_plus"),
    ("an.onnx", "is an engine already: add --tensorrt, --triton DIR or --web DIR"),
    ("an.onnx --triton t --parts", "for the export of a checkpoint"),
])
def test_usage_errors_are_one_line_and_exit_2(command, line, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = command(*line.split())
    assert done.code == 2
    assert message in done.err.splitlines()[-1]


def test_data_of_the_hub_keep_their_address(command, tiny_checkpoint, tmp_path, monkeypatch):
    hub = pytest.importorskip("huggingface_hub", reason="needs the data extra")
    monkeypatch.setattr(hub.constants, "HF_HUB_OFFLINE", True)
    for options in (("--int8", "--calibration"), ("--fp16", "--report")):
        done = command(tiny_checkpoint, "--out", tmp_path, *options, "hf://datasets/org/none")
        assert (done.code, "hf://datasets/org/none" in done.err.splitlines()[-1]) == (3, True), done.err


@pytest.mark.slow
def test_an_engine_of_another_precision_is_not_overwritten(command, tiny_checkpoint, tmp_path):
    assert command(tiny_checkpoint, "--out", tmp_path).code == 0
    before = (tmp_path / "cinemae.onnx").read_bytes()
    refused = command(tiny_checkpoint, "--out", tmp_path, "--fp16")
    assert refused.code == 2
    assert "cinemae.onnx holds a fp32 engine: add --name cinemae-fp16, or --force" in refused.err
    assert command(tiny_checkpoint, "--out", tmp_path).code == 0
    assert (tmp_path / "cinemae.onnx").read_bytes() == before
    assert command(tiny_checkpoint, "--out", tmp_path, "--fp16", "--force").code == 0


@pytest.mark.slow
def test_an_unrequested_plan_is_tried_for_fp16_only_and_its_failure_is_a_note(
    command, tiny_checkpoint, tmp_path, monkeypatch
):
    asked = []

    def fail(source, plan, options):
        asked.append(source)
        raise EngineError("no memory")

    monkeypatch.setattr("cinemae.export.tensorrt.build_plan", fail)
    assert command(tiny_checkpoint, "--out", tmp_path).code == 0
    assert asked == []
    half = (tiny_checkpoint, "--out", tmp_path, "--name", "half", "--fp16")
    done = command(*half)
    assert done.code == 0, done.err
    assert asked == [tmp_path / "half.onnx"]
    note = f"no plan (no memory); where TensorRT finds a GPU: cinemae-export {tmp_path / 'half.onnx'} --tensorrt"
    assert note in done.err
    assert (tmp_path / "half.reference.npz").is_file()
    assert command(*half, "--tensorrt").code == 3
    assert command(*half, "--no-tensorrt").code == 0
    assert len(asked) == 2


def test_report_data_that_cannot_be_read_stops_before_anything_is_written(command, tiny_checkpoint, tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    done = command(tiny_checkpoint, "--out", tmp_path / "out", "--fp16", "--report", empty)
    assert done.code == 2
    assert str(empty) in done.err
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_the_licence_is_the_backbones_unless_one_is_given(command, checkpoint, tmp_path, tiny_manifest):
    backbone = tiny_manifest.backbone.model_copy(update={"licence": "unknown"})
    update_checkpoint(checkpoint, tiny_manifest.model_copy(update={"backbone": backbone, "licence": "Apache-2.0"}), {})
    assert "is unknown; --licence" in command(checkpoint, "--out", tmp_path).err
    unlicensed = read_manifest(tmp_path / "cinemae.onnx")
    assert unlicensed.licence == "unknown"
    assert "license: other\nlicense_name: 'unknown'" in card(unlicensed, "hf://o/r/cinemae.onnx")
    assert "--licence states" not in command(checkpoint, "--out", tmp_path, "--licence", "MIT").err
    licensed = read_manifest(tmp_path / "cinemae.onnx")
    assert (licensed.licence, licensed.backbone.licence) == ("MIT", "unknown")
    assert "license: mit" in card(licensed, "hf://o/r/cinemae.onnx").split("---")[1]
    published = tiny_manifest.model_copy(update={"backbone": backbone.model_copy(update={"licence": "CC-BY-NC-4.0"})})
    assert engine_licence("CC-BY-NC-4.0", None) == "CC-BY-NC-4.0"
    update_checkpoint(checkpoint, published, {})
    refused = command(checkpoint, "--out", tmp_path, "--licence", "MIT")
    assert (refused.code, "under CC-BY-NC-4.0" in refused.err) == (2, True)


@pytest.mark.slow
def test_int8_export_with_report_and_triton(command, tiny_checkpoint, image_tree, tmp_path):
    data, triton = ("--calibration", image_tree, "--report", image_tree), tmp_path / "triton"
    done = command(tiny_checkpoint, "--int8", *data, "--out", tmp_path, "--triton", triton, "--report-images", 8)
    assert done.code == 0, done.err
    assert done.out.count("ok\n") == 3
    files = {"cinemae.onnx", "cinemae.report.md", "cinemae.report.json", "triton"}
    assert {path.name for path in tmp_path.iterdir()} == files
    report = json.loads((tmp_path / "cinemae.report.json").read_text())
    assert report["quality"]["images"] == 8
    assert {item["kind"] for item in report["recipe"].values()} <= {"static", "row", "fp32"}
    assert "encoder.blocks.0" in report["peaks"]
    text = (tmp_path / "cinemae.report.md").read_text()
    for part in ("# Cost of int8", "8 images: ", "| gen_b |", "| block | largest |"):
        assert part in text
    assert "AUC int8" in done.err  # a table, not its Markdown source
    assert "|---" not in done.err
    served = triton / "cinemae_onnx" / "1" / "model.onnx"
    assert served.read_bytes() == (tmp_path / "cinemae.onnx").read_bytes()
    refused = command(tmp_path / "cinemae.onnx", "--tensorrt", "--out", tmp_path)
    assert (refused.code, "--fp16" in refused.err) == (2, True)


def test_deploying_an_engine_needs_no_torch(tiny_engine, tmp_path):
    engine = shutil.copy(tiny_engine, tmp_path / "mine.onnx")
    code = "import sys\nsys.modules['torch'] = sys.modules['onnx'] = None\nfrom cinemae.export.cli import main\nmain()"
    arguments = [sys.executable, "-c", code, engine, "--triton", tmp_path / "t"]
    done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "t" / "mine_onnx" / "config.pbtxt").is_file()


def test_a_source_engine_that_is_missing_exits_3(command, tmp_path):
    assert command(tmp_path / "missing.onnx", "--triton", tmp_path / "t").code == 3


def test_report_compares_the_same_engine_as_equal(tiny_engine, image_tree):
    quality = measure(tiny_engine, tiny_engine, spread(labelled(image_tree), 8))
    assert (quality.images, quality.agreement, quality.max_logit, quality.lcas) == (8, 1.0, 0.0, 0.0)
    assert all(cost["auc"] == cost["auc_fp32"] for cost in quality.generators.values())
    assert "100.00%" in quality_table(replace(quality, precision="fp16")).plain()


def test_spread_is_even_and_keeps_the_ends():
    assert spread(list(range(100)), 3) == [0, 50, 99]
    assert spread([1, 2], 3) == [1, 2]
