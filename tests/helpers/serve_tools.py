"""What the server's tests share: an engine made of arithmetic, images, and a server in a thread of its own."""

from __future__ import annotations

import contextlib
import re
import subprocess
import threading
import time
from pathlib import Path

import numpy as np
from cinemae.runtime.core.calibration import Calibration
from cinemae.runtime.core.manifest import Manifest, StatRange
from cinemae.runtime.engines.base import Engine, EngineOutput
from cinemae.runtime.scoring.detector import Detector
from pictures import encoded, heeds_sigint
from PIL import Image
from records import LIKELIHOOD


class ArithmeticEngine(Engine):
    """Scores from pixel means: exact, instant. A `gate` must be set before it infers; `entered`: it waits there."""

    provider = "test"
    path = Path("arithmetic.onnx")
    notes: tuple[str, ...] = ()

    def __init__(self, manifest: Manifest, seconds: float = 0.0) -> None:
        self.manifest = manifest.model_copy(
            update={
                "name": "arithmetic", "demonstration": True, "heatmap_range": StatRange(low=0.0, high=80.0),
                "calibration": Calibration(
                    ai_from=0.2, real_below=-0.2, false_alarm=0.05, miss=0.1, likelihood=LIKELIHOOD
                ),
            }
        )
        self.seconds = seconds
        self.fails = False
        self.closed = False
        self.sizes: list[int] = []
        self.gate: threading.Event | None = None
        self.entered = threading.Event()

    def infer(self, images: np.ndarray) -> EngineOutput:
        if self.gate is not None:
            self.entered.set()
            assert self.gate.wait(30)
        time.sleep(self.seconds * len(images))
        if self.fails:
            raise RuntimeError("device lost")
        self.sizes.append(len(images))
        grid = self.manifest.backbone.config.grid
        batch, side = len(images), images.shape[1] // grid
        cells = images.reshape(batch, grid, side, grid, side, 3).astype(np.float32)
        lcas = cells.std(axis=(2, 4, 5)).reshape(batch, grid * grid)
        mean = images.reshape(batch, -1).mean(axis=1, dtype=np.float64)
        logit = ((mean - 128) / 32).astype(np.float32)
        stats = np.stack([lcas.max(1) - lcas.min(1), lcas.mean(1), lcas.std(1)], axis=1)
        return EngineOutput(logit, stats, lcas)

    def close(self) -> None:
        self.closed = True


def encode(image: np.ndarray, kind: str = "PNG") -> bytes:
    """uint8 [H, W, 3] as a file's bytes."""
    return encoded(Image.fromarray(image), kind)


def picture(seed: int, width: int = 96, height: int = 80) -> np.ndarray:
    """uint8 [height, width, 3]: noise around a level that depends on the seed."""
    rng = np.random.default_rng(seed)
    level = rng.integers(40, 216)
    return (level + rng.integers(-40, 40, (height, width, 3))).clip(0, 255).astype(np.uint8)


def post(client, data, **params):
    """Send one image as a raw body."""
    return client.post("/v1/detect", content=data, params=params, headers={"Content-Type": "application/octet-stream"})


def wait_for(condition, seconds=90.0):
    """Until `condition()` is true; a failed test where that does not happen in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.01)


@contextlib.contextmanager
def server_process(*command):
    """A server in a process of its own; yields the process, whose stderr is a pipe of text, and its base URL."""
    own = {"stderr": subprocess.PIPE, "text": True, "preexec_fn": heeds_sigint}
    with subprocess.Popen(list(map(str, command)), **own) as process:
        try:
            yield process, re.search(r"http://127\.0\.0\.1:\d+", process.stderr.readline())[0]
        finally:
            process.kill()


@contextlib.contextmanager
def serving(engine, options=None):
    """Serve an engine or a detector on a free port, in a thread; yields (base URL, server)."""
    from cinemae.runtime.serve.app import create_app
    from cinemae.runtime.serve.options import ServeOptions
    from cinemae.runtime.serve.server import bind, make_server

    options = options or ServeOptions(drain=0)
    detector = Detector(engine, engine.manifest, options.scoring) if isinstance(engine, Engine) else engine
    listener = bind("127.0.0.1", 0)
    server = make_server(create_app(lambda: detector, options), options)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    wait_for(lambda: server.started or not thread.is_alive())
    assert server.started
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", server
    finally:
        server.should_exit = True
        thread.join(60)
        listener.close()
    assert not thread.is_alive()
