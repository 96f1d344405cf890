"""`cinemae serve`: score images over HTTP, on this machine or on a Ray cluster."""

from __future__ import annotations

from functools import partial

from ..serve.options import ServeOptions
from .common import Version, command_app, run_command
from .expand import expanded

app = command_app()


@app.command()
@partial(expanded, environment="CINEMAE_")
def serve(options: ServeOptions, version: Version = False) -> None:
    """Serve the detector over HTTP, with a web page at / and an OpenAPI description at /openapi.json.

    Exit codes: 0 stopped by a signal, 2 usage, 3 engine or environment.
    """
    from ..core.environment import require

    require("the server", "serve", "fastapi", "prometheus_client", "python_multipart", "uvicorn")
    if options.ray is None:
        from ..serve.server import launch

        launch(options)
        return
    from ..ray.supervised import supervise

    supervise("start the server again", interrupt=True)
    from ..ray.serve import launch_on_ray

    launch_on_ray(options)


def main() -> None:
    """Entry point: user errors become one line on stderr and an exit code."""
    run_command(app)
