"""`benchmarks/gpu/prove.py` off the GPU: rows and resuming, refusals, JPEGs, and stages (b) to (d) with the fakes."""

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from cinemae.export.fused import export_fused
from cinemae.export.parity import eager_output, parity_images
from cinemae.export.plan_check import Reference, write_reference
from cinemae.runtime.engines.cuda.driver import Cuda
from cinemae.runtime.engines.tensorrt.tensorrt_8 import float_types
from cuda_fakes import FakeCudaApi
from PIL import Image
from tensorrt_engine_fakes import SIZE
from tensorrt_fakes import FakeTensorRt

PROOF = Path(__file__).resolve().parents[2] / "benchmarks" / "gpu"


class Trt(FakeTensorRt):
    """The fake with the one call more that a build without the product makes."""

    def create_network(self, flags):
        network = super().create_network(flags)
        network.get_input = lambda index: SimpleNamespace(shape=(-1, SIZE, SIZE, 3))
        return network


@pytest.fixture
def proof(monkeypatch):
    for folder in (PROOF.parent, PROOF):
        monkeypatch.syspath_prepend(str(folder))
    import proof_rows
    import proof_stages

    return SimpleNamespace(rows=proof_rows, stages=proof_stages)


@pytest.fixture
def arguments(tmp_path):
    return argparse.Namespace(work=tmp_path, largest=4, repeats=2, images=3, checkpoint=None, backbone="custom")


@pytest.fixture
def engine(tmp_path, tiny_detector, tiny_manifest):
    path, images = tmp_path / "vit-l.onnx", parity_images(7, SIZE)
    written = export_fused(tiny_detector, tiny_manifest, path, "fp16")
    write_reference(path, written.content_sha256, Reference(images, eager_output(tiny_detector, images)))
    path.with_suffix(".types.json").write_text(json.dumps(float_types(path)))


def run(proof, arguments, stage, minutes=9.0):
    rows = proof.rows.Rows(arguments.work / "rows.jsonl")
    deadline = time.monotonic() + 60 * minutes
    finished = proof.rows.run_stage(stage, proof.stages.STAGES[stage], arguments, rows, deadline)
    return finished, {key: row for (of, key), row in rows.found.items() if of == stage}


def test_rows_survive_a_kill_and_nothing_is_measured_twice(proof, tmp_path):
    path, measured = tmp_path / "rows.jsonl", []

    def stage(arguments, rows):
        for key in "abc":
            yield key, lambda key=key: measured.append(key) or {"value": key}

    proof.rows.Rows(path).add("s", "a", value="a")
    with path.open("a") as file:
        file.write('{"stage": "s", "key": "b", "val')  # killed while it wrote
    rows = proof.rows.Rows(path)
    assert proof.rows.run_stage("s", stage, None, rows, time.monotonic() + 9)
    assert measured == ["b", "c"]
    assert [json.loads(line)["key"] for line in path.read_text().splitlines()] == ["a", "b", "c"]
    assert not proof.rows.run_stage("late", stage, None, rows, time.monotonic() - 1)


def test_a_failure_is_a_row_and_is_tried_again(proof, tmp_path):
    rows, fails = proof.rows.Rows(tmp_path / "rows.jsonl"), [True]

    def stage(arguments, rows):
        yield "a", lambda: {"value": 1 / (not fails[0])}
        yield "b", lambda: {"value": 2}

    for _ in range(2):
        assert proof.rows.run_stage("s", stage, None, rows, time.monotonic() + 9)
        assert rows.has("s", "b")
        assert rows.has("s", "a") != fails[0]
        fails[0] = False


def test_stages_say_what_they_need(proof, arguments):
    assert "run stage export first" in run(proof, arguments, "build")[1]["all"]["skipped"]
    assert "run stage build first" in run(proof, arguments, "latency")[1]["all"]["skipped"]
    (arguments.work / "vit-l.onnx").touch()
    assert "run it where they are" in run(proof, arguments, "build")[1]["all"]["skipped"]
    assert "torch finds no NVIDIA GPU" in run(proof, arguments, "others")[1]["all"]["skipped"]


def test_jpegs_are_written_once_and_whole(proof, arguments):
    (arguments.work / "jpegs-500x375").mkdir()
    (arguments.work / "jpegs-500x375" / "00000.part").write_bytes(b"killed here")
    _, rows = run(proof, arguments, "folder")
    assert rows["all"]["skipped"].endswith("run stage build first")
    for width, height in proof.stages.SIZES:
        files = sorted((arguments.work / f"jpegs-{width}x{height}").glob("*.jpg"))
        assert [Image.open(file).size for file in files] == [(width, height)] * arguments.images


@pytest.mark.parametrize("backend", ["product", "bare"])
@pytest.mark.parametrize("version", ["10.3.0", "8.6.1"])
def test_build_parity_and_latency_with_the_fakes(proof, arguments, engine, monkeypatch, backend, version):
    trt, cuda = Trt(version, strongly_typed=version != "8.6.1"), Cuda(FakeCudaApi())
    monkeypatch.setattr(proof.stages, "device", lambda: (trt, cuda))
    monkeypatch.setattr(proof.stages, "product_backend", lambda: backend == "product")
    assert run(proof, arguments, "build")[1]["vit-l"]["builder"] == backend
    _, rows = run(proof, arguments, "parity")
    assert [key.split()[-1] for key in rows] == ["1", "2", "4", "4", "1", "2", "2", "1", "4"]
    assert all(row["passed"] for row in rows.values()), rows
    _, rows = run(proof, arguments, "latency")
    assert [row["batch"] for row in rows.values() if "batch" in row] == [1, 2, 4]
    assert cuda.api.live == set()


def test_a_wrong_plan_does_not_pass(proof, arguments, engine, monkeypatch):
    trt, cuda = Trt("10.3.0"), Cuda(FakeCudaApi())
    monkeypatch.setattr(proof.stages, "device", lambda: (trt, cuda))
    monkeypatch.setattr(proof.stages, "product_backend", lambda: False)
    run(proof, arguments, "build")
    trt.wrong = 1e4
    _, rows = run(proof, arguments, "parity")
    assert {key.split()[-1] for key, row in rows.items() if not row["passed"]} == {"2", "4"}


def test_the_command_imports_neither_torch_nor_pydantic(proof):
    code = "import sys, prove; assert not {'torch', 'pydantic', 'tensorrt', 'onnx'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=PROOF, check=True)
