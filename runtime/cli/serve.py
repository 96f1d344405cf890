"""The command `cinemae-serve`: parses the options and starts the server."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Annotated

import typer

from ..ray.address import with_address
from ..serve.settings import MIB, Limits, ServeSettings
from .common import Device, EngineFile, Prior, Threshold, command_app, only_with, print_version, run_command

app = command_app()
_DEFAULT, _LIMITS = ServeSettings(), Limits()


@app.command(help="Serve the detector over HTTP, with a web page at / and an OpenAPI description at /openapi.json.")
def serve(
    engine: EngineFile = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 chooses a free one.")] = 8000,
    device: Device = "auto",
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads of one inference.")] = None,
    threshold: Threshold = None,
    prior: Prior = 0.5,
    token_file: Annotated[
        Path | None,
        typer.Option(
            envvar="CINEMAE_TOKEN_FILE",
            help="File with a bearer token; /v1, /metrics and /openapi.json then require it.",
        ),
    ] = None,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(
            help="Accepted Host header; may be repeated. Default: the local names on a loopback address, else any."
        ),
    ] = None,
    batch_size: Annotated[int, typer.Option(help="Largest number of images in one inference.")] = _DEFAULT.max_batch,
    max_wait_ms: Annotated[
        float, typer.Option(help="Longest wait for further images of a batch, in ms.")
    ] = _DEFAULT.max_wait * 1000,
    workers: Annotated[int, typer.Option(help="Decoding threads.")] = _DEFAULT.workers,
    max_queue: Annotated[
        int, typer.Option(help="Pending images of all requests; beyond it the response is 429.")
    ] = _LIMITS.max_queue,
    max_images: Annotated[int, typer.Option(help="Largest number of images in one request.")] = _LIMITS.max_images,
    max_file_mb: Annotated[float, typer.Option(help="Largest size of one image, in MiB.")] = _LIMITS.max_file_bytes
    / MIB,
    max_body_mb: Annotated[float, typer.Option(help="Largest size of one request, in MiB.")] = _LIMITS.max_body_bytes
    / MIB,
    max_buffered_mb: Annotated[
        float, typer.Option(help="Largest size of all uploads in memory, in MiB; beyond it 429.")
    ] = _LIMITS.max_buffered_bytes / MIB,
    max_megapixels: Annotated[
        float, typer.Option(help="Largest number of megapixels of one image.")
    ] = _LIMITS.max_pixels / 1e6,
    read_timeout: Annotated[
        float, typer.Option(help="Seconds for the body of a request to arrive.")
    ] = _LIMITS.read_timeout,
    request_timeout: Annotated[
        float, typer.Option(help="Seconds from the arrival of the body to the response.")
    ] = _LIMITS.request_timeout,
    drain: Annotated[
        float, typer.Option(help="Grace period between SIGTERM and the end of listening, in seconds.")
    ] = _DEFAULT.drain,
    ray: Annotated[
        str | None, typer.Option(metavar="[ADDRESS]", help="Serve on a Ray cluster: HOST:PORT, auto or local.")
    ] = None,
    replicas: Annotated[
        int | None, typer.Option(min=1, help="With --ray: replicas, each with an engine of its own. Default: 1.")
    ] = None,
    version: Annotated[
        bool, typer.Option("--version", callback=print_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Build the settings and start the server."""
    only_with("--ray", ray is not None, replicas=replicas is not None)
    limits = Limits(
        max_body_bytes=whole(max_body_mb * MIB), max_file_bytes=whole(max_file_mb * MIB),
        max_pixels=whole(max_megapixels * 1e6), max_images=max_images, max_queue=max_queue,
        max_buffered_bytes=whole(max_buffered_mb * MIB), read_timeout=read_timeout, request_timeout=request_timeout,
    )
    from ..serve.launch import allowed_hosts, launch, read_token, require_serve

    settings = ServeSettings(
        limits=limits, max_batch=batch_size, max_wait=max_wait_ms / 1000, workers=workers,
        token=read_token(token_file), allowed_hosts=allowed_hosts(host, allow_host), drain=drain,
    )
    if ray is None:
        launch(settings, engine, host, port, device, threads, threshold, prior)
        return
    from ..ray.serve import Replica, launch_on_ray
    from ..ray.supervised import supervise

    require_serve()
    supervise("start the server again", interrupt=True)
    named = None if engine is None else engine.resolve()
    launch_on_ray(Replica(named, device, threads, threshold, prior), settings, replicas or 1, ray, host, port)


def whole(number: float) -> int:
    """A size in bytes or pixels; 0, which `Limits` refuses, for one that is not finite."""
    return int(number) if math.isfinite(number) else 0


def main() -> None:
    """Entry point of the console script."""
    run_command(app, with_address(sys.argv[1:]))


if __name__ == "__main__":
    main()
