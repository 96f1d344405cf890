"""The doctor: finds what is wrong, names the fix, and its exit code follows."""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import astuple
from types import SimpleNamespace

import numpy as np
import pytest
from cinemae.runtime.cli.doctor import app
from cinemae.runtime.core.environment import pip_install
from cinemae.runtime.core.errors import EngineError, ExitCode
from cinemae.runtime.core.golden import golden_image
from cinemae.runtime.core.manifest import Golden
from cinemae.runtime.diagnose import doctor, hardware
from cinemae.runtime.diagnose import probe as probe_module
from cinemae.runtime.diagnose.doctor import cuda_finding, engine_findings, gpu_findings, onnxruntime_findings
from cinemae.runtime.diagnose.engine_card import INDENT, card_lines
from cinemae.runtime.diagnose.hardware import InstalledGpu, cuda_packages, driver_cuda
from cinemae.runtime.diagnose.probe import imported, probe
from cinemae.runtime.engines.base import Engine, EngineOutput
from cinemae.runtime.scoring.options import EngineOptions
from commands import outcome
from report_samples import manifest

H200 = InstalledGpu("H200", "570.1", "143771", "9.0")


def by_topic(findings, topic):
    return [finding for finding in findings if finding.topic == topic]


def test_this_machine_can_score_with_the_tiny_engine(tiny_engine, capsys):
    code, out, _ = outcome(capsys, app, "--engine", tiny_engine, "--device", "cpu", "--json")
    found = json.loads(out)
    assert (code, found["ok"]) == (0, True)
    topics = {finding["topic"] for finding in found["findings"]}
    assert {"python", "cpu", "disk", "cinemae", "formats", "onnxruntime", "provider", "gpu", "engine"} <= topics
    assert any("CPUExecutionProvider computes" in finding["text"] for finding in found["findings"])
    (thresholds,) = [finding for finding in found["findings"] if finding["topic"] == "thresholds"]
    assert (thresholds["level"], "cinemae train calibrate" in thresholds["fix"]) == ("note", True)


def test_an_engine_that_is_missing_or_damaged_is_a_problem_of_one_line(tiny_engine, tmp_path, capsys):
    (tmp_path / "broken.onnx").write_bytes(tiny_engine.read_bytes()[:-100])
    for engine in ("no.onnx", tmp_path / "broken.onnx"):
        code, out, err = outcome(capsys, app, "--engine", engine, "--device", "cpu")
        assert (code, err) == (ExitCode.ENGINE_OR_ENVIRONMENT, "")
        assert out.splitlines()[-2].startswith(f"PROBLEM  engine       {engine}: ")
    assert outcome(capsys, app, "--device", "abacus")[:2] == (ExitCode.USAGE, "")


def test_every_warning_and_problem_has_a_fix(monkeypatch):
    monkeypatch.setattr(hardware, "onnxruntime_wheels", lambda: {"onnxruntime": "1.20", "onnxruntime-gpu": "1.21"})
    monkeypatch.setattr(hardware, "gpus", lambda: [H200])
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda path: SimpleNamespace(free=1e8))
    monkeypatch.setattr(hardware, "memory_gib", lambda: (0.2, 8.0))
    monkeypatch.setattr(hardware, "installed", lambda name: None)
    of_packages = [*doctor.system_findings(), *doctor.package_findings()]
    (wheels, *_) = by_topic(onnxruntime_findings(), "onnxruntime")
    assert (wheels.level, "onnxruntime 1.20, onnxruntime-gpu 1.21" in wheels.text) == ("problem", True)
    bad = [finding for finding in (*of_packages, wheels, *gpu_findings()) if finding.level in ("warning", "problem")]
    assert {finding.topic for finding in bad} >= {"memory", "disk", "cinemae", "onnxruntime"}
    assert all(finding.fix for finding in bad)


@pytest.mark.parametrize(("features", "words"), [
    (["avx2", "avx512_vnni", "amx_bf16"], "--bf16 or --int8 runs about 4 times faster"),
    (["avx2", "avx_vnni", "avx512_bf16"], "--int8 runs about 3 times faster; --bf16 2 times faster on AMD's"),
    (["avx2"], "falls back"),
    ([], None),
])
def test_the_fast_precision_of_a_cpu_is_named(monkeypatch, features, words):
    monkeypatch.setattr(doctor, "cpu_features", lambda: features)
    (finding,) = by_topic(doctor.system_findings(), "cpu")
    assert words in finding.text if words else "this CPU" not in finding.text


@pytest.mark.parametrize(("name", "counts"), [
    ("onnxruntime", True), ("onnxruntime-gpu", True), ("onnxruntime_openvino", True), ("ort-nightly-gpu", True),
    ("onnxruntime-extensions", False), ("onnxruntime-genai", False), ("onnx", False),
])
def test_wheels_that_carry_the_module(monkeypatch, name, counts):
    monkeypatch.setattr(hardware, "distributions", lambda: [SimpleNamespace(metadata={"Name": name}, version="1")])
    assert bool(hardware.onnxruntime_wheels()) is counts


def test_missing_onnxruntime(monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    monkeypatch.setattr(hardware, "onnxruntime_wheels", dict)
    (finding,) = onnxruntime_findings()
    assert (finding.level, finding.text) == ("problem", "is not installed")
    assert pip_install("cpu") in finding.fix


def test_a_listed_provider_that_does_not_work(monkeypatch):
    fake = SimpleNamespace(
        get_available_providers=lambda: ["CUDAExecutionProvider", "AzureExecutionProvider", "CPUExecutionProvider"],
        __version__="1.20", InferenceSession=object,
    )
    monkeypatch.setitem(sys.modules, "onnxruntime", fake)
    monkeypatch.setattr(doctor, "probe", lambda name: "" if name.startswith("CPU") else "no libcudnn")
    cuda, cpu = by_topic(onnxruntime_findings(), "provider")
    assert (cuda.level, "no libcudnn" in cuda.text, "--device cpu" in cuda.fix) == ("warning", True, True)
    assert cpu.level == "ok"


def test_probe_runs_in_its_own_process_and_survives_its_death(monkeypatch, tmp_path):
    assert probe("CPUExecutionProvider") == ""
    assert probe("CUDAExecutionProvider") or shutil.which("nvidia-smi")
    monkeypatch.setattr(probe_module, "sys", SimpleNamespace(executable="/bin/false"))
    assert "ended with 1" in probe("CPUExecutionProvider")
    sleeper = tmp_path / "sleeper"
    sleeper.write_text("#!/bin/sh\nexec sleep 30\n")
    sleeper.chmod(0o755)
    monkeypatch.setattr(probe_module, "sys", SimpleNamespace(executable=str(sleeper)))
    assert "did not answer" in probe("CPUExecutionProvider", timeout=0.2)


def test_probe_names_the_library_that_is_missing(monkeypatch):
    log = "[E:onnxruntime] FAIL : Failed to load library x.so with error: libcublasLt.so.13: cannot open\n\x1b[m"
    done = SimpleNamespace(stdout='chatter\n"fell back to CPUExecutionProvider"\n', stderr=log, returncode=0)
    monkeypatch.setattr(probe_module.subprocess, "run", lambda *a, **k: done)
    assert probe("CUDAExecutionProvider").endswith("CPUExecutionProvider: libcublasLt.so.13: cannot open")


def test_a_gpu_without_its_wheel(monkeypatch):
    monkeypatch.setattr(hardware, "gpus", lambda: [H200])
    monkeypatch.setattr(hardware, "onnxruntime_wheels", lambda: {"onnxruntime": "1.20"})
    here, advice, *_ = by_topic(gpu_findings(), "gpu")
    assert here.text == "H200, compute 9.0, 143771 MiB, driver 570.1"
    assert (advice.level, "[gpu]" in advice.fix) == ("warning", True)


def test_a_jetson_is_not_told_to_install_wheels_that_are_not_for_it(monkeypatch):
    there = {"tensorrt-cu12": "10.16.1.11", "cuda-python": "12.6.2"}
    monkeypatch.setattr("platform.release", lambda: "5.15.148-tegra")
    monkeypatch.setattr(hardware, "gpus", lambda: [InstalledGpu("Orin (nvgpu)", "540.4.0", "[N/A]", "8.7")])
    monkeypatch.setattr(hardware, "onnxruntime_wheels", lambda: {"onnxruntime": "1.20"})
    monkeypatch.setattr(hardware, "installed", there.get)
    findings = {finding.topic: finding for finding in gpu_findings()}
    assert findings["gpu"].level == "ok"
    assert "tensorrt-cu12 is not for a Jetson" in findings["cuda"].text
    assert findings["cuda"].fix.startswith("pip uninstall -y tensorrt-cu12; use JetPack's own TensorRT")
    for text in (findings["tensorrt"].fix, doctor._provider_fix("CUDAExecutionProvider")):
        assert "JetPack" in text
        assert "[gpu]" not in text
    del there["tensorrt-cu12"]
    assert cuda_finding("540.4.0").level == "ok"


def test_nvidia_smi_is_read(monkeypatch):
    monkeypatch.setattr(hardware.shutil, "which", lambda name: "/usr/bin/nvidia-smi")
    answers = iter([
        SimpleNamespace(stdout="NVIDIA H200, 570.86.15, 143771, 9.0\n", stderr="", returncode=0),
        SimpleNamespace(stdout="NVIDIA-SMI has failed: no driver", stderr="", returncode=9),
    ])
    monkeypatch.setattr(hardware.subprocess, "run", lambda *a, **k: next(answers))
    assert hardware.gpus() == [InstalledGpu("NVIDIA H200", "570.86.15", "143771", "9.0")]
    assert "no driver" in hardware.gpus()


def test_packages_are_imported_in_a_process_of_their_own(monkeypatch):
    assert imported("print('8.6')") == "8.6"
    with pytest.raises(ModuleNotFoundError, match="no_such_module"):
        imported("import no_such_module")
    with pytest.raises(ImportError, match=r"libnvinfer\.so") as caught:
        imported("raise ImportError('libnvinfer.so.10: cannot open')")
    assert not isinstance(caught.value, ModuleNotFoundError)
    monkeypatch.setattr(doctor, "TENSORRT_CODE", "raise ImportError('libnvinfer.so.10: cannot open')")
    (finding,) = by_topic(gpu_findings(), "tensorrt")
    assert (finding.level, finding.fix) == ("warning", "pip install --force-reinstall tensorrt")


CUDNN = {  # Requires-Dist of the wheels on PyPI, extra "cudnn"
    "1.26.0": 'nvidia-cudnn-cu12~=9.0; extra == "cudnn"', "1.31.1": 'nvidia-cudnn-cu13~=9.0; extra == "cudnn"',
}


@pytest.mark.parametrize(("driver", "cuda"), [
    ("580.65.06", 13), ("590.1", 13), ("570.86.15", 12), ("525.60", 12), ("540.4.0", 12), ("470.1", None), ("?", None),
])
def test_drivers(driver, cuda):
    assert driver_cuda(driver) == cuda


@pytest.mark.parametrize(("driver", "versions", "wrong"), [
    ("580.1", {"tensorrt_cu13": "10.16.1.11", "cuda_bindings": "13.5.0", "onnxruntime_gpu": "1.31.1"}, None),
    ("580.1", {"tensorrt_cu12": "10.16.1.11", "cuda_bindings": "12.9.10", "onnxruntime_gpu": "1.26.0"}, None),
    ("580.1", {}, None),
    ("570.1", {"tensorrt_cu12": "10.16.1.11", "cuda_bindings": "12.9.10"}, None),
    ("570.1", {"tensorrt_cu13": "11.4.0.106", "cuda_bindings": "13.5.0"}, "tensorrt-cu13 cuda-bindings"),
    ("570.1", {"tensorrt_cu12_libs": "10.3.0", "cuda_python": "13.1.0"}, "cuda-python"),
    ("580.1", {"tensorrt_cu13_libs": "10.16.1.11", "cuda_bindings": "13.5.0", "onnxruntime_gpu": "1.26.0"},
     "onnxruntime-gpu"),
])
def test_versions_are_compared_and_the_pair_is_named(monkeypatch, driver, versions, wrong):
    there = {name.replace("_", "-"): version for name, version in versions.items()}
    monkeypatch.setattr(hardware, "installed", there.get)
    monkeypatch.setattr(hardware, "requires", lambda name: ["numpy", CUDNN[there[name]]] if name in there else [])
    finding = cuda_finding(driver)
    if wrong is None:
        assert (finding.level, finding.fix) == ("ok", "")
    else:
        assert finding.level == "warning"
        assert finding.fix.startswith(f"pip uninstall -y {wrong}; ")
        assert f"tensorrt-cu{driver_cuda(driver)}" in finding.fix
    assert all("{} {} (CUDA {})".format(*astuple(package)) in finding.text for package in cuda_packages())


def test_an_old_driver_is_told():
    finding = cuda_finding("470.1")
    assert (finding.level, finding.fix) == ("warning", "update the NVIDIA driver to 525 or later")
    assert doctor.exit_code([finding]) == 0


class FakeEngine(Engine):
    """Scores the golden image with `logits`, one for each place in the batch."""

    provider, path, notes = "CPUExecutionProvider", "fake.onnx", ("cuda is installed but does not work here",)

    def __init__(self, tiny_config, golden, alone=0.5, second=0.5, error=None):
        self.manifest = manifest(tiny_config, golden=golden)
        self.alone, self.second, self.error, self.closed = alone, second, error, False

    def infer(self, images):
        if self.error:
            raise EngineError(self.error)
        assert (images[-1] == golden_image(64)).all()
        logits = np.float32([self.alone] if len(images) == 1 else [9.0, self.second])
        return EngineOutput(logits, np.zeros((len(images), 3), np.float32), np.zeros((len(images), 16), np.float32))

    def close(self):
        self.closed = True


@pytest.mark.parametrize(("golden", "changes", "level", "words"), [
    (0.5, {}, "ok", "expected 0.500000"),
    (0.51, {}, "problem", "off by 1.0e-02"),
    (0.5, {"alone": float("nan"), "second": float("nan")}, "problem", "nan"),
    (None, {}, "warning", "no expected score"),
    (0.5, {"second": 0.6}, "problem", "in a batch 0.600000"),
    (0.5, {"error": "out of memory"}, "problem", "out of memory"),
])
def test_self_test(monkeypatch, tiny_config, golden, changes, level, words):
    fake = FakeEngine(tiny_config, golden and Golden(logit=golden, tolerance=1e-3), **changes)
    monkeypatch.setattr("cinemae.runtime.engines.load.load_engine", lambda path, device, *more: fake)
    findings = list(engine_findings(EngineOptions()))
    tests = by_topic(findings, "self-test")
    assert tests[0].level == level
    assert any(words in test.text for test in tests)
    assert fake.closed
    assert any(finding.level == "warning" and "does not work here" in finding.text for finding in findings)


def test_the_card_of_an_engine(capsys):
    code, out, err = outcome(capsys, app, "--card")
    assert (code, err) == (0, "")
    assert "Apache" not in out  # of the code, not of the weights
    for part in ("mae_tiny_2421.pth", "demonstration use", "fp32, opset 17, batches of any size",
                 "of a source get this; 1 new source in 10 may exceed that (5,242 images)", "likelihood ratio",
                 "ai            from a score of ", "weak support for real",
                 "3,657 AI and 4,716 real images", "dalle_mini"):
        assert part in out
    found = json.loads(outcome(capsys, app, "--card", "--json")[1])
    assert found["licence"] == found["backbone"]["licence"]
    assert (found["calibration"]["n_real"], found["training"]["n_ai"]) == (5242, 3657)
    assert (found["batch"], found["tools"]["opset"]) == (None, "17")
    refused = outcome(capsys, app, "--card", "--engine", "no.onnx")
    assert refused == (ExitCode.ENGINE_OR_ENVIRONMENT, "", "error: no.onnx: no such engine file\n")


def test_lines_of_the_card_fit_a_terminal():
    wide, narrow = list(card_lines()), "\n".join(card_lines(width=80)).splitlines()
    assert max(map(len, wide)) > 80
    assert all(len(line) <= 80 or " " not in line[INDENT:] for line in narrow)
    assert " ".join(" ".join(wide).split()) == " ".join(" ".join(narrow).split())
