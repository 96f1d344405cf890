"""`cinemae ray`: score images on a Ray cluster."""

from __future__ import annotations

import sys

import typer

from ..ray.options import RayOptions
from .common import Version, command_app
from .expand import expanded

app = command_app()


@app.command()
@expanded
def ray(options: RayOptions, version: Version = False) -> None:
    """Score images on a Ray cluster: the records of `cinemae run`, in shards.

    Exit codes: 0 all scored, 1 some inputs failed, 2 usage, 3 engine or environment, 4 AI found or declared
    under --fail-on-ai or --fail-on-declared.
    """
    from ..core.errors import UsageError
    from ..ray.cluster import require_ray
    from ..ray.supervised import supervise

    if not options.inputs:
        raise UsageError("Missing argument: name images or folders to score")
    supervise("the same command with --resume scores what is missing")
    require_ray()
    from ..ray.scan import scan_on_ray

    raise typer.Exit(scan_on_ray(options, sys.stdin.buffer))
