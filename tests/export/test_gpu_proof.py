"""`benchmarks/gpu/prove.py` off the GPU: rows and resuming, refusals, JPEGs, and stages (b) to (d) with the fakes."""

import argparse
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from cinemae.export.parity import eager_output, parity_images
from cinemae.export.plan_check import Reference, write_reference
from cinemae.runtime.engines.cuda.driver import Cuda
from cinemae.runtime.engines.file.header import read_manifest
from cinemae.runtime.engines.onnx.binding import LARGEST
from cinemae.runtime.engines.tensorrt.tensorrt_8 import float_types
from cinemae.train.model.presets import PRESETS
from cuda_fakes import FakeCudaApi
from PIL import Image
from tensorrt_engine_fakes import SIZE, FakeContext
from tensorrt_fakes import PLAN, FakeLayer, FakeTensorRt

PROOF = Path(__file__).resolve().parents[2] / "benchmarks" / "gpu"


class Trt(FakeTensorRt):
    """The fake with the calls more that a build without the product makes, and a product of two matrices."""

    MatrixOperation = SimpleNamespace(NONE=0)
    refuses, product = False, 0

    def create_network(self, flags):
        network = super().create_network(flags)
        network.get_input = lambda index: SimpleNamespace(shape=(-1, SIZE, SIZE, 3))
        network.add_input = lambda name, dtype, shape: setattr(self, "product", shape[0])
        network.add_matrix_multiply = lambda *inputs: FakeLayer("product", "matrix_multiply", ["y"])
        network.mark_output = lambda tensor: None
        return network

    def build(self, network, config):
        return PLAN if self.product else super().build(network, config)

    def deserialize(self, data):
        if not self.product:
            return super().deserialize(data)
        size, self.product = self.product, 0
        context = FakeContext(self, None, None)
        context.execute_async_v3 = lambda stream: self.multiply(context, size, stream)
        return SimpleNamespace(create_execution_context=lambda: context)

    def multiply(self, context, size, stream):
        """"True if the kernels were enqueued successfully" (enqueueV3, NvInferRuntime.h 11.1:4470)."""
        a, b, y = (context.view(name, np.float16, (size, size)) for name in "aby")
        FakeCudaApi.current.do(stream, lambda: np.copyto(y, a.astype(np.float32) @ b + self.wrong))
        return not self.refuses


@pytest.fixture
def proof(monkeypatch):
    for folder in (PROOF.parent, PROOF):
        monkeypatch.syspath_prepend(str(folder))
    import bare_plan
    import proof_providers
    import proof_rows
    import proof_stages
    import prove

    monkeypatch.setattr(proof_stages, "PRODUCT", 16)
    return SimpleNamespace(
        rows=proof_rows, stages=proof_stages, providers=proof_providers, bare=bare_plan, command=prove
    )


@pytest.fixture
def arguments(tmp_path):
    return argparse.Namespace(work=tmp_path, largest=4, repeats=2, images=3, checkpoint=None, backbone="custom")


@pytest.fixture
def engine(tmp_path, tiny_detector, tiny_fp16_engine):
    path, images = Path(shutil.copy(tiny_fp16_engine, tmp_path / "vit-l.onnx")), parity_images(7, SIZE)
    write_reference(path, read_manifest(path).content_sha256, Reference(images, eager_output(tiny_detector, images)))
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


def test_a_stage_that_fails_between_measurements_ends_and_the_next_goes_on(proof, tmp_path):
    rows = proof.rows.Rows(tmp_path / "rows.jsonl")

    def stage(arguments, rows):
        yield "a", dict
        raise ValueError("the plan does not load")

    assert proof.rows.run_stage("s", stage, None, rows, time.monotonic() + 9)
    assert (rows.has("s", "a"), rows.found["s", "all"]["error"]) == (True, "ValueError: the plan does not load")


def test_stages_say_what_they_need(proof, arguments):
    assert "run stage export first" in run(proof, arguments, "build")[1]["all"]["skipped"]
    assert "run it where they are" in run(proof, arguments, "latency")[1]["all"]["skipped"]
    (arguments.work / "vit-l.onnx").touch()
    assert "run it where they are" in run(proof, arguments, "build")[1]["all"]["skipped"]
    for stage in ("tf32", "others"):
        assert "run this stage where an NVIDIA GPU is" in run(proof, arguments, stage)[1]["all"]["skipped"]


def test_jpegs_are_written_once_and_whole(proof, arguments):
    (arguments.work / "jpegs-500x375").mkdir()
    (arguments.work / "jpegs-500x375" / "00000.part").write_bytes(b"killed here")
    _, rows = run(proof, arguments, "folder")
    assert rows["all"]["skipped"].endswith("run it where they are")
    for width, height in proof.stages.SIZES:
        files = sorted((arguments.work / f"jpegs-{width}x{height}").glob("*.jpg"))
        assert [Image.open(file).size for file in files] == [(width, height)] * arguments.images


@pytest.mark.parametrize("backend", ["product", "bare"])
@pytest.mark.parametrize("version", ["10.3.0", "8.6.1"])
def test_build_parity_and_latency_with_the_fakes(proof, arguments, engine, monkeypatch, backend, version):
    trt, cuda = Trt(version), Cuda(FakeCudaApi())
    monkeypatch.setattr(proof.stages, "device", lambda: (trt, cuda))
    monkeypatch.setattr(proof.stages, "product_backend", lambda: backend == "product")
    setting = f"on Fake 4090, TensorRT {version}, largest 4"
    assert run(proof, arguments, "build")[1][f"vit-l {setting}"]["builder"] == backend
    _, rows = run(proof, arguments, "parity")
    assert [key.split()[4] for key in rows] == ["1", "2", "4", "4", "1", "2", "2", "1", "4"]
    assert all(row["passed"] for row in rows.values()), rows
    _, rows = run(proof, arguments, "latency")
    in_flight = [4] if backend == "product" else []
    assert [row["batch"] for row in rows.values() if "batch" in row] == [1, 2, 4, *in_flight]
    assert all(key.endswith(setting) for key in rows)
    assert cuda.api.live == set()


def test_a_wrong_plan_does_not_pass(proof, arguments, engine, monkeypatch):
    trt, cuda = Trt("10.3.0"), Cuda(FakeCudaApi())
    monkeypatch.setattr(proof.stages, "device", lambda: (trt, cuda))
    monkeypatch.setattr(proof.stages, "product_backend", lambda: False)
    run(proof, arguments, "build")
    trt.wrong = 1e4
    _, rows = run(proof, arguments, "parity")
    assert {key.split()[4] for key, row in rows.items() if not row["passed"]} == {"2", "4"}


@pytest.mark.parametrize("other", ["gpu", "tensorrt", "largest"])
def test_rows_and_plans_of_another_setting_are_not_taken_for_this_one(proof, arguments, engine, monkeypatch, other):
    trt, cuda = Trt("10.3.0"), Cuda(FakeCudaApi())
    monkeypatch.setattr(proof.stages, "device", lambda: (trt, cuda))
    built = run(proof, arguments, "build")[1]
    if other == "gpu":
        monkeypatch.setattr(FakeCudaApi, "cudaGetDeviceProperties", lambda self, device: (
            0, SimpleNamespace(name="Fake H200", major=9, minor=0)))
    trt.__version__ = "10.4.0" if other == "tensorrt" else "10.3.0"
    arguments.largest = 2 if other == "largest" else 4
    for stage in ("parity", "latency", "folder"):
        assert "run stage build first" in run(proof, arguments, stage)[1]["all"]["skipped"]
    assert len(run(proof, arguments, "build")[1]) == 2 * len(built) == 2
    assert len(list(arguments.work.glob("*.plan"))) == 2


def test_an_old_failure_of_another_gpu_does_not_count(proof, tmp_path):
    rows = proof.rows.Rows(tmp_path / "rows.jsonl")
    rows.add("s", "a on another", error="out of memory")
    assert not rows.good()
    rows = proof.rows.Rows(tmp_path / "rows.jsonl")
    rows.add("s", "a on this")
    assert rows.good()


def test_the_peak_multiplies_numbers_and_counts_no_refused_product(proof):
    trt, cuda = Trt("10.3.0"), Cuda(FakeCudaApi())
    assert proof.bare.matmul_peak(trt, cuda, time.perf_counter, size=16) > 0
    trt.wrong = 5.0
    with pytest.raises(RuntimeError, match="multiplied wrongly"):
        proof.bare.matmul_peak(trt, cuda, time.perf_counter, size=16)
    trt.wrong, trt.refuses = 0.0, True
    with pytest.raises(RuntimeError, match="refused to queue"):
        proof.bare.matmul_peak(trt, cuda, time.perf_counter, size=16)
    assert cuda.api.live == set()


def test_a_folder_is_compared_without_the_start_of_the_process(proof, arguments, engine, monkeypatch):
    trt, cuda, clock, ran = Trt("10.3.0"), Cuda(FakeCudaApi()), [0.0], []

    def scores(command, check):
        ran.append(command)
        clock[0] += 12.0 if command[4].endswith("00000.jpg") else 14.0

    monkeypatch.setattr(proof.stages, "device", lambda: (trt, cuda))
    run(proof, arguments, "build")
    rows = proof.rows.Rows(arguments.work / "rows.jsonl")
    rows.add("latency", "vit-l in flight on Fake 4090, TensorRT 10.3.0, largest 4", images_per_s=4.0)
    monkeypatch.setattr(proof.stages.subprocess, "run", scores)
    monkeypatch.setattr(proof.stages.time, "perf_counter", lambda: clock[0])
    _, rows = run(proof, arguments, "folder")
    found = [row for key, row in rows.items() if key.startswith("vit-l")]
    assert [(row["images_per_s"], row["of_engine_alone"]) for row in found] == [(1.0, 0.25)] * 2
    assert Path(ran[0][ran[0].index("--engine") + 1]).is_file()


def test_no_row_is_of_a_batch_that_runs_as_two(proof):
    assert proof.providers.sizes("onnxruntime CUDA", 128)[-1] == LARGEST == 64
    assert proof.providers.sizes("torch eager", 128)[-1] == 128


def test_tf32_is_what_an_override_undoes(proof, arguments, monkeypatch):
    monkeypatch.setattr(proof.providers, "setting", lambda: "Fake 4090, onnxruntime 1.31.1")
    found = {("tensorrt", False): (4e-3, 2e-3, 5e-3), ("cuda", False): (1e-5, 1e-5, 1e-5)}
    monkeypatch.setattr(proof.providers, "differences_apart",
                        lambda device, **env: found.get((device, bool(env)), (1e-5, 1e-5, 1e-5)))
    _, rows = run(proof, arguments, "tf32")
    assert [(key.split()[0], row["tf32"], row["passed"]) for key, row in rows.items()] == [
        ("tensorrt", True, False), ("cuda", False, True)]


@pytest.mark.slow
def test_a_device_is_compared_in_a_process_of_its_own(proof):
    assert proof.providers.differences_apart("cpu", NVIDIA_TF32_OVERRIDE="0") == (0.0, 0.0, 0.0)
    with pytest.raises(RuntimeError, match="MissingDependencyError: device 'cuda' is not usable"):
        proof.providers.differences_apart("cuda")


@pytest.mark.slow
def test_the_stages_that_need_no_gpu_run_by_the_command(proof, tmp_path, tiny_checkpoint, monkeypatch):
    """The proof is alive on the day that a GPU is lent: what can be run without one runs, and the rest says why not."""
    shallow = {"name": "shallow", "encoder_depth": 1, "decoder_depth": 1}
    monkeypatch.setitem(PRESETS, "shallow", PRESETS["vit_tiny_patch16"].model_copy(update=shallow))
    monkeypatch.setattr(sys, "argv", [
        "prove.py", "--work", str(tmp_path), "--backbone", "shallow", "--images", "2", "--largest", "4",
        "--checkpoint", str(tiny_checkpoint), "tf32", "export", "build", "parity", "latency", "folder", "others",
    ])
    assert proof.command.main() == 1
    rows = [json.loads(line) for line in (tmp_path / "rows.jsonl").read_text().splitlines()]
    assert not [row for row in rows if "error" in row]
    assert [(row["stage"], row["key"]) for row in rows if "skipped" not in row] == [
        ("export", "vit-l"), ("export", "bundled"), ("folder", "jpegs 500x375 2"), ("folder", "jpegs 1600x1200 2")]
    assert [row["stage"] for row in rows if "skipped" in row] == [
        "tf32", "build", "parity", "latency", "folder", "others"]


def test_the_command_imports_neither_torch_nor_pydantic(proof):
    code = "import sys, prove; assert not {'torch', 'pydantic', 'tensorrt', 'onnx'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=PROOF, check=True)
