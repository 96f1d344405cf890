"""A decoder or an engine that never ends: readiness says so, and neither signal waits for it for ever."""

from __future__ import annotations

import signal
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

pytest.importorskip("fastapi", reason="needs the serve extra")
httpx = pytest.importorskip("httpx")

from cinemae.runtime.scoring.detector import Detector  # noqa: E402
from cinemae.runtime.serve.options import Limits, ServeOptions  # noqa: E402
from serve_tools import encode, picture, server_process, serving, wait_for  # noqa: E402

pytestmark = pytest.mark.slow

OPTIONS = ServeOptions(limits=Limits(request_timeout=3, read_timeout=3), drain=0, last_seconds=0.5)

STUCK_SERVER = """
import sys, threading
from pathlib import Path
from cinemae.runtime.scoring.detector import Detector
from cinemae.runtime.core.manifest import Manifest
from cinemae.runtime.serve.options import Limits, ServeOptions
from cinemae.runtime.serve.server import launch
from serve_tools import ArithmeticEngine

engine = ArithmeticEngine(Manifest.from_json(Path(sys.argv[1]).read_bytes(), "test"))
detector = Detector(engine, engine.manifest)
never = threading.Event()
owner, name = (engine, "infer") if sys.argv[2] == "engine" else (detector, "prepare")
calls = iter([getattr(owner, name)])  # the warm-up works
setattr(owner, name, lambda argument: next(calls, lambda argument: never.wait())(argument))
Detector.load = lambda *args, **options: detector
limits = Limits(request_timeout=0.5, read_timeout=0.5)
try:
    launch(ServeOptions(limits=limits, port=0, drain=0, last_seconds=1))
except KeyboardInterrupt:
    sys.exit(130)
"""


def stick_engine(engine, detector, gate):
    engine.gate = gate


def stick_decoder(engine, detector, gate):
    prepare = detector.prepare
    detector.prepare = lambda source: gate.wait(60) and prepare(source)


@pytest.mark.parametrize(("stick", "named"), [(stick_engine, "engine"), (stick_decoder, "decoder")])
def test_readiness_notices_what_is_stuck_and_recovers(engine, stick, named):
    gate = threading.Event()
    detector = Detector(engine, engine.manifest)
    with serving(detector, OPTIONS) as (base, _), ThreadPoolExecutor(1) as pool:
        client = httpx.Client(base_url=base, timeout=60)
        stick(engine, detector, gate)
        assert client.get("/readyz").status_code == 200
        answer = pool.submit(client.post, "/v1/detect", content=encode(picture(1)))
        assert answer.result().status_code == 504
        time.sleep(0.1)
        trouble = client.get("/readyz")
        assert trouble.status_code == 503
        assert f"the {named} is stuck" in trouble.json()["detail"]
        assert client.get("/healthz").status_code == 200
        assert "cinemae_ready 0.0" in client.get("/metrics").text
        gate.set()
        wait_for(lambda: client.get("/readyz").status_code == 200)
        assert client.post("/v1/detect", content=encode(picture(1))).status_code == 200


@pytest.mark.parametrize("sent", [(signal.SIGTERM,), (signal.SIGINT,), (signal.SIGTERM, signal.SIGTERM)])
@pytest.mark.parametrize("named", ["engine", "decoder"])
def test_a_stuck_thread_does_not_hold_the_process(tiny_manifest, tmp_path, named, sent):
    manifest = tmp_path / "manifest.json"
    manifest.write_text(tiny_manifest.to_json())
    helpers = Path(__file__).parents[2] / "helpers"
    code = f"import sys; sys.path.append({str(helpers)!r})\n{STUCK_SERVER}"
    with server_process(sys.executable, "-c", code, manifest, named) as (process, base):
        assert httpx.post(f"{base}/v1/detect", content=encode(picture(1)), timeout=60).status_code == 504
        for number in sent:
            process.send_signal(number)
            time.sleep(0.05)
        process.wait(60)  # ServeOptions.stops_within is 3 s here; a stuck thread would hold the process for ever
        assert "Traceback" not in process.stderr.read()
