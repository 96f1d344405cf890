"""`cinemae-export`: parse and call."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from ..runtime.errors import CinemaeError

app = typer.Typer(add_completion=False, rich_markup_mode=None)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"cinemae-export {version('cinemae')}")
        raise typer.Exit


@app.command()
def export(
    checkpoint: Annotated[
        Path | None, typer.Argument(help="Checkpoint folder of cinemae-train fit; without one, the last trained.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for the files.")] = Path("models"),
    name: Annotated[str, typer.Option(help="File name without suffix.")] = "cinemae",
    backbone: Annotated[
        str | None, typer.Option(help="Where the backbone lies, if not where the checkpoint says.")
    ] = None,
    fp16: Annotated[bool, typer.Option("--fp16", help="Half precision in the graph, for GPUs.")] = False,
    parts: Annotated[
        bool, typer.Option("--parts", help="Also encoder.onnx, decoder.onnx, head.onnx in NAME-parts/.")
    ] = False,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    """Export a checkpoint as an engine: NAME.onnx, checked against eager PyTorch."""
    from .run import Request, run

    run(Request(checkpoint, out, name, backbone, fp16, parts))


def main() -> None:
    """Entry point: errors that are the user's to fix are one line on stderr and their exit code."""
    try:
        app()
    except CinemaeError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
