"""Kills, full disks, slow clients and damaged engines at random; `CINEMAE_ATTACK_ROUNDS=50` makes a night of it.

Seeded by the number of the round, so that a failure can be repeated: `pytest -m attack` runs these alone.
"""

from __future__ import annotations

import json
import os
import random
import resource
import socket
import subprocess
import sys
import time

import pytest
from cinemae.runtime.core.errors import EngineError
from cinemae.runtime.engines.file.integrity import seal
from cinemae.runtime.engines.load import load_engine
from pictures import RUN, folder_of

ROUNDS = int(os.environ.get("CINEMAE_ATTACK_ROUNDS", "1"))
pytestmark = [
    pytest.mark.attack, pytest.mark.slow, pytest.mark.timeout(300 * ROUNDS),
    pytest.mark.skipif(sys.platform != "linux", reason="needs limits and signals of Linux"),
]
rounds = pytest.mark.parametrize("seed", range(ROUNDS))


@pytest.fixture(scope="module")
def command(tmp_path_factory, tiny_engine):
    images = folder_of(tmp_path_factory.mktemp("images"), 300, bad=1)
    return [*RUN, str(images), "--engine", str(tiny_engine), "--quiet",
            "--device", "cpu", "--threads", "1", "--batch-size", "4", "--out"]


@pytest.fixture(scope="module")
def whole(command, tmp_path_factory):
    """Paths and statuses of an undisturbed run."""
    out = tmp_path_factory.mktemp("whole") / "out.jsonl"
    assert subprocess.run([*command, str(out)], timeout=100, check=False).returncode == 1
    return outline(out)


def outline(out):
    """(path, status) of each record; every line must be whole."""
    text = out.read_text()
    assert text.endswith("\n")
    return [(record["path"], record["status"]) for record in map(json.loads, text.splitlines())]


@rounds
def test_kills_at_any_moment(command, whole, tmp_path, seed):
    moment, out = random.Random(seed), tmp_path / "out.jsonl"
    for _ in range(3):
        with subprocess.Popen([*command, str(out), "--resume"]) as process:
            time.sleep(moment.uniform(0.2, 3.0))
            process.kill()
    assert subprocess.run([*command, str(out), "--resume"], timeout=100, check=False).returncode == 1
    assert outline(out) == whole


@rounds
def test_disks_that_are_full_at_any_byte(command, whole, tmp_path, seed):
    size, out = random.Random(seed), tmp_path / "out.jsonl"
    for _ in range(3):
        bound = size.randrange(1, 60_000)
        found = subprocess.run(
            [*command, str(out), "--resume"], capture_output=True, text=True, timeout=100, check=False,
            preexec_fn=lambda bound=bound: resource.setrlimit(resource.RLIMIT_FSIZE, (bound, bound)),
        )
        assert found.returncode == 3
        assert "File too large" in found.stderr
        assert "Traceback" not in found.stderr
        assert not out.exists() or not out.stat().st_size or outline(out) == whole[: len(outline(out))]
    assert subprocess.run([*command, str(out), "--resume"], timeout=100, check=False).returncode == 1
    assert outline(out) == whole


SLOW = (
    b"", b"POST /v1/det", b"GET / HTTP/1.1\r\nHost: x\r\nX-Slow: ",
    b"POST /v1/detect HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\nContent-Length: 5000\r\n\r\nxxx",
    b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n", b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\nGET /hea",
)
CROWD = 300


@rounds
def test_a_crowd_of_slow_clients_starves_nobody(tiny_manifest, seed):
    pytest.importorskip("fastapi", reason="needs the serve extra")
    httpx = pytest.importorskip("httpx")
    from cinemae.runtime.serve.options import Limits, ServeOptions
    from serve_tools import ArithmeticEngine, encode, picture, serving

    choice = random.Random(seed)
    options = ServeOptions(limits=Limits(header_timeout=2, read_timeout=2), drain=0, allow_host=("x",))
    with serving(ArithmeticEngine(tiny_manifest), options) as (base, server):
        port = int(base.rpartition(":")[2])
        crowd = [socket.create_connection(("127.0.0.1", port), timeout=30) for _ in range(CROWD)]
        for connection in crowd:
            connection.sendall(choice.choice(SLOW))
        for number in range(10):
            assert httpx.post(f"{base}/v1/detect", content=encode(picture(number)), timeout=60).status_code == 200
        until = time.monotonic() + 120  # idle keep-alive connections have 15 seconds
        while server.server_state.connections:
            assert time.monotonic() < until
            time.sleep(0.1)
        for connection in crowd:
            connection.close()


def damaged(data: bytes, choice: random.Random) -> bytes:
    """One bit, one cut, one block of zeros, or one block in another place."""
    spoilt, start = bytearray(data), choice.randrange(len(data))
    length, kind = choice.choice((1, 16, 4096)), choice.randrange(4)
    if kind == 0:
        spoilt[start] ^= 1 << choice.randrange(8)
    elif kind == 1:
        del spoilt[start:]
    elif kind == 2:
        spoilt[start : start + length] = bytes(len(spoilt[start : start + length]))
    else:
        spoilt[start:start] = spoilt[choice.randrange(len(data)) :][:length]
    return bytes(spoilt)


@rounds
def test_engines_damaged_at_random_and_sealed_again(tiny_engine, tmp_path, seed):
    """An attacker can seal: what loads must load whole, and what does not is one line."""
    choice, path, data = random.Random(seed), tmp_path / "x.onnx", tiny_engine.read_bytes()
    for _ in range(100):
        path.write_bytes(damaged(data, choice))
        try:
            seal(path)
            load_engine(path, device="cpu").close()
        except EngineError as error:
            message = str(error)
        else:
            continue
        assert message.isprintable()
        assert len(message) < 2000
