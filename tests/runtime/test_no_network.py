"""No command uses the network or leaves a file in the home folder; onnxruntime's and OpenVINO's telemetry do both."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from PIL import Image
from report_samples import picture
from strace import can_trace


@dataclass(frozen=True)
class Run:
    """home: the command's empty home folder. calls: its network system calls, None where strace is missing."""

    done: subprocess.CompletedProcess[str]
    home: Path
    calls: str | None


LIBRARY = """
import sys, time
from cinemae.runtime import Detector
with Detector.load(sys.argv[2], device="cpu") as detector:
    assert detector.detect(sys.argv[1]).status == "ok"
    time.sleep(12)
"""
"""onnxruntime 1.32 first asks for its collector's address some nine seconds after the import."""


@pytest.fixture(scope="module", params=["run", "doctor", "openvino", pytest.param("library", marks=pytest.mark.slow)])
def run(request, tiny_engine, tmp_path_factory) -> Run:
    """A real command with a home folder of its own, without the test suite's ORT_DISABLE_TELEMETRY."""
    if request.param == "openvino":
        pytest.importorskip("openvino", reason="needs the extra openvino")
    folder = tmp_path_factory.mktemp(request.param)
    home, trace = folder / "home", folder / "trace"
    home.mkdir()
    Image.fromarray(picture(0)).save(folder / "a.png")
    image, engine = str(folder / "a.png"), str(tiny_engine)
    command = [sys.executable] + {
        "run": ["-m", "cinemae", "run", image, "--quiet", "--engine", engine, "--device", "cpu"],
        "openvino": ["-m", "cinemae", "run", image, "--quiet", "--engine", engine, "--device", "openvino"],
        "doctor": ["-m", "cinemae", "doctor", "--engine", engine, "--device", "cpu"],
        "library": ["-c", LIBRARY, image, engine],
    }[request.param]
    traced = can_trace(folder)
    if traced:
        command = ["strace", "-f", "-o", str(trace), "-e", "trace=network", *command]
    dropped = ("ORT_DISABLE_TELEMETRY", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME")
    environment = {key: value for key, value in os.environ.items() if key not in dropped} | {"HOME": str(home)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    return Run(done, home, trace.read_text(errors="replace") if traced else None)


def test_home_stays_empty(run):
    assert run.done.returncode == 0, run.done.stderr
    assert [str(path.relative_to(run.home)) for path in run.home.rglob("*")] == []


def test_no_socket_leaves_the_machine(run):
    if run.calls is None:
        pytest.skip("needs strace, allowed to trace: apt-get install strace")
    assert [line for line in run.calls.splitlines() if "AF_INET" in line] == []
