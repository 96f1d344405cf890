"""`cinemae-export`: parse and call."""

from __future__ import annotations

from ..runtime.cli.common import Version, command_app, run_command
from ..runtime.cli.expand import expanded
from .request import Request

app = command_app()


@app.command()
@expanded
def export(request: Request, version: Version = False) -> None:
    """Export a checkpoint as an engine, NAME.onnx, checked against eager PyTorch; exit 3 where a tolerance fails."""
    from .export import export_request

    export_request(request)


def main() -> None:
    """Entry point: errors that are the user's to fix go to stderr without a traceback, with their exit code."""
    run_command(app)
