"""cinemae-export as a command: what it writes, prints and exits with."""

import subprocess
import sys
from dataclasses import dataclass

import pytest
from cinemae.export import cli, parity
from cinemae.export.hub import card
from cinemae.export.licence import engine_licence
from cinemae.runtime.core.errors import EngineError
from cinemae.runtime.engines.file.header import read_manifest
from cinemae.train.fitting.checkpoint import save_checkpoint
from cinemae.train.fitting.checkpoint_folder import update_checkpoint


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory, tiny_detector, tiny_manifest):
    folder = tmp_path_factory.mktemp("export") / "checkpoint"
    masks = tiny_detector.visible.numpy()[None]
    return save_checkpoint(folder, tiny_detector.head, masks, tiny_manifest, embed=tiny_detector.mae)


@dataclass(frozen=True)
class Done:
    code: int
    out: str
    err: str


@pytest.fixture
def command(monkeypatch, capsys):
    """Run cinemae-export in this process (torch is slow to import)."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["cinemae-export", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        captured = capsys.readouterr()
        return Done(ended.value.code, captured.out, captured.err)

    return run


def test_writes_engine_and_parts_and_prints_the_table(command, checkpoint, tmp_path):
    done = command(checkpoint, "--parts", "--out", tmp_path)
    assert done.code == 0, done.err
    assert sorted(str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*.onnx")) == [
        "cinemae-parts/decoder.onnx", "cinemae-parts/encoder.onnx", "cinemae-parts/head.onnx", "cinemae.onnx",
    ]
    assert done.out.count("ok\n") == 6
    assert "tolerances fp32: logit 0.001" in done.out


def test_parity_beyond_tolerance_exits_3(command, checkpoint, tmp_path, monkeypatch):
    monkeypatch.setitem(parity.TOLERANCES, "fp32", parity.Tolerance(logit=0.0, lcas=0.0, batch=1.0))
    done = command(checkpoint, "--out", tmp_path)
    assert done.code == 3
    assert "FAILED" in done.out
    assert "error: beyond tolerance: fused fp32" in done.err


@pytest.mark.parametrize(("arguments", "message"), [
    (["nowhere"], "error: nowhere is no checkpoint"),
    (["--name", "cinemae-demo"], "belongs to the bundled engine"),
    (["--name", "a/b"], "must be a file name"),
    ([], "no checkpoint given"),
])
def test_usage_errors_are_one_line_and_exit_2(command, arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = command(*arguments)
    assert done.code == 2
    assert message in done.err.splitlines()[-1]


def test_help_imports_nothing_heavy():
    code = (
        "import sys\nfrom cinemae.export.cli import app\n"
        "try:\n    app(['--help'])\nexcept SystemExit:\n    pass\n"
        "heavy = {'torch', 'onnxruntime', 'onnx', 'matplotlib', 'numpy'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_an_engine_of_another_precision_is_not_overwritten(command, checkpoint, tmp_path):
    assert command(checkpoint, "--out", tmp_path).code == 0
    before = (tmp_path / "cinemae.onnx").read_bytes()
    refused = command(checkpoint, "--out", tmp_path, "--fp16")
    assert refused.code == 2
    assert "cinemae.onnx holds a fp32 engine: add --name cinemae-fp16, or --force" in refused.err
    assert (tmp_path / "cinemae.onnx").read_bytes() == before
    assert command(checkpoint, "--out", tmp_path).code == 0
    assert command(checkpoint, "--out", tmp_path, "--fp16", "--force").code == 0


def test_the_graph_for_tensorrt_overwrites_no_engine_of_its_name(command, checkpoint, image_tree, tmp_path):
    assert command(checkpoint, "--out", tmp_path, "--name", "mine-qdq").code == 0
    before = (tmp_path / "mine-qdq.onnx").read_bytes()
    options = (checkpoint, "--out", tmp_path, "--name", "mine", "--int8", "--calibration", image_tree)
    refused = command(*options, "--qdq")
    assert refused.code == 2
    assert "mine-qdq.onnx holds a fp32 engine: add --name mine-int8, or --force" in refused.err
    assert (tmp_path / "mine-qdq.onnx").read_bytes() == before
    assert not (tmp_path / "mine.onnx").exists()


@pytest.mark.slow
def test_an_unrequested_plan_is_tried_for_fp16_only_and_its_failure_is_a_note(
    command, checkpoint, tmp_path, monkeypatch
):
    asked = []

    def fail(source, plan, options):
        asked.append(source)
        raise EngineError("no memory")

    monkeypatch.setattr("cinemae.export.tensorrt.build_plan", fail)
    assert command(checkpoint, "--out", tmp_path).code == 0
    assert asked == []
    done = command(checkpoint, "--out", tmp_path, "--name", "half", "--fp16")
    assert done.code == 0, done.err
    assert asked == [tmp_path / "half.onnx"]
    note = f"no plan (no memory); where TensorRT finds a GPU: cinemae-export {tmp_path / 'half.onnx'} --tensorrt"
    assert note in done.err
    assert (tmp_path / "half.reference.npz").is_file()
    assert command(checkpoint, "--out", tmp_path, "--name", "half", "--fp16", "--tensorrt").code == 3
    assert command(checkpoint, "--out", tmp_path, "--name", "half", "--fp16", "--no-tensorrt").code == 0
    assert len(asked) == 2


def test_report_data_that_cannot_be_read_stops_before_anything_is_written(command, checkpoint, tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    done = command(checkpoint, "--out", tmp_path / "out", "--fp16", "--report", empty)
    assert done.code == 2
    assert str(empty) in done.err
    assert "\\n" not in done.err
    assert not (tmp_path / "out").exists()


def test_an_out_folder_that_looks_like_an_engine_is_refused(command, checkpoint, tmp_path):
    done = command(checkpoint, "--out", tmp_path / "best.onnx")
    assert done.code == 2
    assert "--name best" in done.err


@pytest.mark.slow
def test_the_licence_is_the_backbones_unless_one_is_given(command, checkpoint, tmp_path, tiny_manifest):
    backbone = tiny_manifest.backbone.model_copy(update={"licence": "unknown"})
    update_checkpoint(checkpoint, tiny_manifest.model_copy(update={"backbone": backbone, "licence": "Apache-2.0"}), {})
    done = command(checkpoint, "--out", tmp_path)
    assert "is unknown; --licence" in done.err
    unlicensed = read_manifest(tmp_path / "cinemae.onnx")
    assert unlicensed.licence == "unknown"
    assert "license: other\nlicense_name: 'unknown'" in card(unlicensed, "hf://o/r/cinemae.onnx")
    done = command(checkpoint, "--out", tmp_path, "--licence", "MIT")
    assert "--licence states" not in done.err
    licensed = read_manifest(tmp_path / "cinemae.onnx")
    assert (licensed.licence, licensed.backbone.licence) == ("MIT", "unknown")
    assert "license: mit" in card(licensed, "hf://o/r/cinemae.onnx").split("---")[1]
    published = backbone.model_copy(update={"licence": "CC-BY-NC-4.0"})
    assert engine_licence(tiny_manifest.model_copy(update={"backbone": published}), None) == "CC-BY-NC-4.0"
    update_checkpoint(checkpoint, tiny_manifest.model_copy(update={"backbone": published}), {})
    refused = command(checkpoint, "--out", tmp_path, "--licence", "MIT")
    assert (refused.code, "under CC-BY-NC-4.0, and so it is" in refused.err) == (2, True)
    update_checkpoint(checkpoint, tiny_manifest, {})
