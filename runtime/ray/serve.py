"""The same application on Ray Serve: replicas behind one address, each with its own engine and bounded queue."""

from __future__ import annotations

import signal
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..core.environment import pip_install
from ..core.errors import CinemaeError, MissingDependencyError
from ..engines.load import read_engine_manifest
from ..scoring.record import engine_label
from ..serve.settings import ServeSettings
from .cluster import cluster, one_line

APP_NAME = "cinemae"


@dataclass(frozen=True)
class Replica:
    """The detector of each replica; the arguments are those of `Detector.load`.

    Attributes:
        engine: engine file, at the same path on every node; None for the bundled engine.
    """

    engine: Path | None = None
    device: str = "auto"
    threads: int | None = None
    threshold: float | None = None
    prior: float = 0.5


def deployment(replica: Replica, settings: ServeSettings, replicas: int) -> Any:
    """A Ray Serve application for `serve.run`.

    Back-pressure comes from the replicas, which answer 429 at their own limits; Ray's queue before them is large enough
    not to reject requests itself. The queue, the memory for uploads and `/metrics` are those of one replica.

    Args:
        replica: the detector of each replica.
        settings: the settings of each replica.
        replicas: number of replicas.

    Raises:
        MissingDependencyError: Ray Serve is not installed.
    """
    try:
        from ray import serve
    except ImportError as error:
        fix = pip_install("serve,ray", "ray[serve]")
        raise MissingDependencyError(f"Ray Serve needs {error.name or error}: {fix}") from None

    def build() -> Any:
        from ..images.library_messages import silence_libraries
        from ..scoring.detector import Detector
        from ..serve.app import create_app

        silence_libraries()

        def load() -> Detector:
            return Detector.load(
                replica.engine, replica.device, replica.threads, replica.threshold,
                max_pixels=settings.limits.max_pixels, prior=replica.prior,
            )

        return create_app(load, settings)

    gpu = replica.device in ("cuda", "tensorrt")
    made: Any = serve.deployment(
        name=APP_NAME,
        num_replicas=replicas,
        max_ongoing_requests=4 * settings.limits.max_queue,
        ray_actor_options={"num_cpus": replica.threads or 1, "num_gpus": 1 if gpu else 0},
        graceful_shutdown_timeout_s=settings.limits.read_timeout + settings.limits.request_timeout,
    )
    return made(serve.ingress(build)()).bind()


def launch_on_ray(replica: Replica, settings: ServeSettings, replicas: int, address: str, host: str, port: int) -> None:
    """Serve on a Ray cluster until SIGTERM or SIGINT.

    Raises:
        CinemaeError: Ray Serve is not installed, there is no cluster at `address`, or the replicas do not start.
    """
    application = deployment(replica, settings, replicas)
    label = engine_label(read_engine_manifest(replica.engine))
    from ray import serve

    with cluster(address):
        try:
            serve.start(http_options={"host": host, "port": port})
            serve.run(application, name=APP_NAME, route_prefix="/")
        except (OSError, RuntimeError, ValueError) as error:
            raise CinemaeError(f"Ray Serve on {address}: {one_line(error)}") from None
        # Set after ray.init, which installs its own handlers.
        stop = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stop.set())
        shown = f"[{host}]" if ":" in host else host
        count = "1 replica" if replicas == 1 else f"{replicas} replicas"
        print(f"{label}: {count} at http://{shown}:{port}/", file=sys.stderr, flush=True)
        stop.wait()
        serve.shutdown()
