"""Options that several commands share, and how an error that the user can fix ends a command."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

DEVICES = "auto|cpu|cuda|tensorrt|openvino"
EngineFile = Annotated[
    Path | None, typer.Option(help="An .onnx or .plan file, or a folder of parts. Default: the bundled engine.")
]
Device = Annotated[
    str, typer.Option(metavar=f"[{DEVICES}]", help="Where the engine runs; only auto falls back to another device.")
]
Prior = Annotated[
    float, typer.Option(help="Share of AI images among those scored, in (0, 1); shifts the probability, no verdict.")
]
# Literal would have typer list and check the choices, but with its own four-line message, and `--format` could not
# depend on `--ray`. `load_engine` checks the device for Python callers as well.


def print_version(wanted: bool) -> None:
    """Callback of an eager option: print the installed version and end the command."""
    if wanted:
        from importlib.metadata import PackageNotFoundError, version

        try:
            print(f"cinemae {version('cinemae')}")
        except PackageNotFoundError:
            print("cinemae (not installed: running from its source tree)")
        raise typer.Exit


def run_command(app: typer.Typer, arguments: Sequence[str] | None = None, one_line: bool = True) -> None:
    """Run a command; a CinemaeError becomes one message on stderr and its exit code.

    Args:
        app: the command.
        arguments: the command line, by default that of the process.
        one_line: escape line ends in the message too, because it quotes names from files.
    """
    from ..display_text import printable
    from ..errors import CinemaeError

    try:
        app(args=arguments)
    except CinemaeError as error:
        print(f"error: {printable(str(error)) if one_line else error}", file=sys.stderr)
        raise SystemExit(error.exit_code) from None
