"""`cinemae-serve`: parse, build the settings, serve."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from ..cli.common import print_version, run_command
from ..ray.address import with_address
from .settings import MIB, Limits, ServeSettings

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
_DEFAULT, _LIMITS = ServeSettings(), Limits()


@app.command(help="Serve the detector over HTTP, with a page at / and an OpenAPI description at /openapi.json.")
def serve(
    engine: Annotated[Path | None, typer.Option(help="Engine file; default: the bundled demonstration engine.")] = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 takes a free one.")] = 8000,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, tensorrt or openvino.")] = "auto",
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads of one inference.")] = None,
    threshold: Annotated[
        float | None, typer.Option(help="Probability that replaces the engine's threshold and uncertain band.")
    ] = None,
    token_file: Annotated[
        Path | None,
        typer.Option(envvar="CINEMAE_TOKEN_FILE", help="File with a bearer token that /v1 and /metrics then ask for."),
    ] = None,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(help="Host name to answer for, repeatable; default: on loopback the local names, elsewhere all."),
    ] = None,
    batch_size: Annotated[int, typer.Option(help="Most images in one inference.")] = _DEFAULT.max_batch,
    max_wait_ms: Annotated[float, typer.Option(help="Longest wait for a batch to fill.")] = _DEFAULT.max_wait * 1000,
    workers: Annotated[int, typer.Option(help="Threads that decode.")] = _DEFAULT.workers,
    max_queue: Annotated[int, typer.Option(help="Images in work before 429.")] = _LIMITS.max_queue,
    max_images: Annotated[int, typer.Option(help="Images in one request.")] = _LIMITS.max_images,
    max_file_mb: Annotated[float, typer.Option(help="Size of one image.")] = _LIMITS.max_file_bytes / MIB,
    max_body_mb: Annotated[float, typer.Option(help="Size of one request.")] = _LIMITS.max_body_bytes / MIB,
    max_buffered_mb: Annotated[
        float, typer.Option(help="Uploads in memory, all requests together.")
    ] = _LIMITS.max_buffered_bytes / MIB,
    max_megapixels: Annotated[float, typer.Option(help="Pixels of one image.")] = _LIMITS.max_pixels / 1e6,
    read_timeout: Annotated[float, typer.Option(help="Seconds for a request to arrive.")] = _LIMITS.read_timeout,
    request_timeout: Annotated[float, typer.Option(help="Seconds from there to the answer.")] = _LIMITS.request_timeout,
    drain: Annotated[float, typer.Option(help="Seconds of grace between SIGTERM and closing.")] = _DEFAULT.drain,
    ray: Annotated[
        str | None, typer.Option(metavar="[ADDRESS]", help="Serve on a Ray cluster: HOST:PORT, auto or local.")
    ] = None,
    replicas: Annotated[int, typer.Option(min=1, help="With --ray: engines behind the one address.")] = 1,
    version: Annotated[
        bool, typer.Option("--version", callback=print_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Build the settings and hand over."""
    limits = Limits(
        max_body_bytes=int(max_body_mb * MIB), max_file_bytes=int(max_file_mb * MIB),
        max_pixels=int(max_megapixels * 1e6), max_images=max_images, max_queue=max_queue,
        max_buffered_bytes=int(max_buffered_mb * MIB), read_timeout=read_timeout, request_timeout=request_timeout,
    )  # fmt: skip
    from .launch import allowed_hosts, launch, read_token, require_serve

    settings = ServeSettings(
        limits=limits, max_batch=batch_size, max_wait=max_wait_ms / 1000, workers=workers,
        token=read_token(token_file), allowed_hosts=allowed_hosts(host, allow_host), drain=drain,
    )  # fmt: skip
    if ray is None:
        launch(settings, engine, host, port, device, threads, threshold)
        return
    from .ray_serve import Replica, launch_on_ray

    require_serve()
    named = None if engine is None else engine.resolve()
    launch_on_ray(Replica(named, device, threads, threshold), settings, replicas, ray, host, port)


def main() -> None:
    """Entry point of the console script."""
    run_command(app, with_address(sys.argv[1:]))


if __name__ == "__main__":
    main()
