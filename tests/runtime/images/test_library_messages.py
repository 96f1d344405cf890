"""Image libraries write nothing to stderr and to the server's log; the reason is in the record."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys

import numpy as np
import pytest
from image_files import tiff
from PIL import features
from serve_tools import server_process

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or not features.check("libtiff"), reason="libtiff's messages are found on Linux only"
)


@pytest.fixture
def damaged():
    """A deflate TIFF with damaged data and 40 rows of strips: libtiff complains about it."""
    noise = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8).tobytes()
    data = bytearray(tiff([noise], 8, 2, 3, (40, 40), compression=8))
    data[200:260] = bytes(60)
    return bytes(data)


def test_the_record_names_the_reason_and_stderr_is_empty(damaged, tiny_engine, tmp_path):
    for number in range(3):
        (tmp_path / f"{number}.tif").write_bytes(damaged)
    command = [sys.executable, "-m", "cinemae", "run", tmp_path, "--engine", tiny_engine, "--quiet"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert (result.returncode, result.stderr) == (1, "")
    errors = [json.loads(line)["error"]["text"] for line in result.stdout.splitlines()]
    assert len(errors) == 3
    assert all(re.search(r"cannot be decoded \(OSError: decoder error -2: ZIPDecode: .+\)", error) for error in errors)


def test_the_servers_log_stays_empty(damaged, tiny_engine):
    pytest.importorskip("fastapi", reason="needs the serve extra")
    httpx = pytest.importorskip("httpx")
    command = [sys.executable, "-m", "cinemae", "serve", "--engine", tiny_engine, "--port", "0", "--drain", "0"]
    with server_process(*command) as (process, address):
        answer = httpx.post(f"{address}/v1/detect", content=damaged, timeout=120)
        assert answer.status_code == 422
        assert "ZIPDecode" in answer.json()["detail"]
        form = {"Content-Type": "multipart/form-data; boundary=x"}
        assert httpx.post(f"{address}/v1/detect", content=b"no boundary", headers=form).status_code == 400
        process.send_signal(signal.SIGTERM)
        process.wait(20)
        assert process.stderr.read() == ""
