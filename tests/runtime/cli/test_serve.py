"""`cinemae serve`: clear errors, a real engine until SIGTERM, Ray that ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest
from cinemae.runtime.cli.serve import app
from cinemae.runtime.core.environment import pip_install
from commands import outcome


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["--engine", "nowhere.onnx"], 3, "nowhere.onnx"),
        (["--max-images", "500"], 2, "--max-queue"),
        (["--token-file", "nowhere.txt"], 2, "nowhere.txt"),
        (["--host", "203.0.113.7"], 3, "cannot listen on 203.0.113.7"),
        (["--device", "abacus"], 2, "abacus"),
        (["--workers", "0"], 2, "--workers"),
        (["--max-queue", "0"], 2, "error: --max-queue must be above 0"),
        (["--max-file-mb", "nan"], 2, "error: --max-file-mb must be above 0"),
        (["--max-body-mb", "1e6"], 2, "raise --max-buffered-mb or lower --max-body-mb"),
        (["--max-pixels", "0"], 2, "max_pixels must be at least 1"),
        (["--request-timeout", "nan"], 2, "error: --request-timeout must be above 0"),
        (["--drain", "nan"], 2, "--drain"),
        (["--token-file", "."], 2, ".: the token file cannot be read (Is a directory)"),
        (["--host", "nowhere.invalid"], 3, "choose another --host or --port"),
        (["--replicas", "2"], 2, "--replicas: only with --ray"),
        (["--allow-host", ""], 2, "--allow-host is empty"),
        (["--threshold", "x"], 2, "--threshold takes a number between 0 and 1"),
    ],
)
def test_a_mistake_is_one_line(arguments, code, says, tmp_path, monkeypatch, capsys):
    pytest.importorskip("fastapi", reason="needs the serve extra")
    monkeypatch.chdir(tmp_path)
    found, out, err = outcome(capsys, app, "--port", "0", *arguments)
    assert (found, out, err.count("\n")) == (code, "", 1)
    assert says in err


def test_a_missing_extra_gives_the_pip_line(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "fastapi", None)
    code, _, err = outcome(capsys, app)
    assert (code, pip_install("serve") in err) == (3, True)


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGINT])
def test_a_real_engine_is_served_until_a_signal_and_ends_with_0(tiny_engine, tmp_path, end):
    pytest.importorskip("fastapi", reason="needs the serve extra")
    httpx = pytest.importorskip("httpx")
    from cinemae.runtime.images.source import NamedSource
    from cinemae.runtime.scoring.detector import Detector
    from cinemae.runtime.scoring.record import to_dict
    from serve_tools import encode, picture, server_process

    token = tmp_path / "token"
    token.write_text("abc\n")
    command = [sys.executable, "-m", "cinemae", "serve", "--engine", tiny_engine, "--port", "0", "--device", "cpu",
               "--drain", "0", "--threads", "1", "--prior", "0.1", "--token-file", token]
    with server_process(*command) as (process, address):
        client = httpx.Client(base_url=address, headers={"Authorization": "Bearer abc"}, timeout=120)
        data = encode(picture(5))
        record = client.post("/v1/detect?name=a.png", content=data).json()["records"][0]
        with Detector.load(tiny_engine, device="cpu", threads=1, prior=0.1, frames="first") as detector:
            assert record == to_dict(detector.detect(NamedSource("a.png", data)))
        process.send_signal(end)
        assert process.wait(20) == 0
        says = process.stderr.read()
        assert "Traceback" not in says
        assert "a token of 3 characters can be guessed" in says


ON_RAY = """
import os, signal, sys, time
from cinemae.runtime.ray import serve as ray_serve
def launch(*_):
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(0))
    print("up", flush=True)
    if os.environ["END"] == "dies":
        os._exit(1)  # as Ray does when its raylet has died
    for _ in range(600):
        time.sleep(0.1)
ray_serve.launch_on_ray = launch
fork = os.fork
def slow_fork():  # the waiting process of a busy machine: a signal comes before it goes on
    if child := fork():
        time.sleep(1)
    return child
os.fork = slow_fork
from cinemae.runtime.cli.serve import main
sys.argv = ["cinemae serve", "--ray", "local"]
main()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="supervised on Linux only")
@pytest.mark.parametrize(("end", "code"), [("dies", 3), (signal.SIGTERM, 0), (signal.SIGINT, 0)])
def test_ray_that_ends_the_server_and_signals(end, code):
    command = [sys.executable, "-c", ON_RAY]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, env={**os.environ, "END": str(end)}, **pipes) as process:
        assert process.stdout.readline() == "up\n"
        if end != "dies":
            process.send_signal(end)
        assert process.wait(60) == code
        says = process.stderr.read()
    assert says == ("error: Ray ended the run: one of its own processes died; start the server again\n" if code else "")
