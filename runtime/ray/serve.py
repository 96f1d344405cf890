"""The server on Ray Serve: replicas behind one address, each with its own engine and bounded queue."""

from __future__ import annotations

import signal
import sys
import threading
from dataclasses import replace
from typing import Any

from ..core.environment import pip_install
from ..core.errors import CinemaeError, MissingDependencyError
from ..engines.load import read_engine_manifest
from ..serve.options import ServeOptions, url_of
from .cluster import cluster, on_every_node, one_line

APP_NAME = "cinemae"


def deployment(options: ServeOptions) -> Any:
    """A Ray Serve application for `serve.run`.

    Back-pressure comes from the replicas, which answer 429 at their own limits; Ray's queue before them is large enough
    not to reject requests itself. The queue, the memory for uploads and `/metrics` are those of one replica.

    Raises:
        MissingDependencyError: Ray Serve is not installed.
    """
    try:
        from ray import serve
    except ImportError as error:
        fix = pip_install("serve,ray", "ray[serve]")
        raise MissingDependencyError(f"Ray Serve needs {error.name or error}: {fix}") from None
    limits = options.limits
    scoring = replace(options.scoring, engine=on_every_node(options.scoring.engine))

    def build() -> Any:
        from ..images.library_messages import silence_libraries
        from ..scoring.detector import Detector
        from ..serve.app import create_app

        silence_libraries()
        return create_app(lambda: Detector.load(scoring), options)

    made: Any = serve.deployment(
        name=APP_NAME,
        num_replicas=options.replicas or 1,
        max_ongoing_requests=4 * limits.max_queue,
        ray_actor_options={
            "num_cpus": scoring.threads or 1, "num_gpus": 1 if scoring.device in ("cuda", "tensorrt") else 0,
        },
        graceful_shutdown_timeout_s=limits.read_timeout + limits.request_timeout,
    )
    return made(serve.ingress(build)()).bind()


def launch_on_ray(options: ServeOptions) -> None:
    """Serve on a Ray cluster until SIGTERM or SIGINT.

    Raises:
        CinemaeError: Ray Serve is not installed, there is no cluster at the address, or the replicas do not start.
    """
    application = deployment(options)
    label, count = read_engine_manifest(options.scoring.engine).label, options.replicas or 1
    from ray import serve

    with cluster(options.ray):
        try:
            serve.start(http_options={"host": options.host, "port": options.port})
            serve.run(application, name=APP_NAME, route_prefix="/")
        except (OSError, RuntimeError, ValueError) as error:
            raise CinemaeError(f"Ray Serve on {options.ray}: {one_line(error)}") from None
        # Set after ray.init, which installs its own handlers.
        stop = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stop.set())
        replicas = "1 replica" if count == 1 else f"{count} replicas"
        print(f"{label}: {replicas} at {url_of(options.host, options.port)}", file=sys.stderr, flush=True)
        stop.wait()
        serve.shutdown()
