"""`cinemae run`: score images and print one record each."""

from __future__ import annotations

import sys
from dataclasses import replace
from functools import partial
from typing import Annotated

import typer

from ..scan.options import ScanOptions
from .common import Version, command_app, run_command, score_and_exit
from .expand import expanded

app = command_app()

EXAMPLES = """\b
Examples:
  cinemae run --demo                                sample images; writes cinemae-demo.html
  cinemae run photos/                               a table; JSON lines in a pipe
  cinemae run photos/ --report report.html          a page with pictures
  cinemae run photos/ --out s.jsonl --resume        go on after a kill
  find . -newer mark -print0 | cinemae run - -0     names on stdin
"""


@app.command(epilog=EXAMPLES)
@expanded
def run(
    options: ScanOptions,
    demo: Annotated[
        bool, typer.Option("--demo", help="Score the sample images of this package and write cinemae-demo.html.")
    ] = False,
    version: Version = False,
) -> None:
    """Tell AI-generated images from photographs: one record per input, in input order.

    Exit codes: 0 all scored, 1 some inputs failed, 2 usage, 3 engine or environment, 4 AI found or declared
    under --fail-on-ai or --fail-on-declared.
    """
    from ..core.errors import UsageError

    if demo:
        from ..scan.samples import demo_inputs

        inputs, report = demo_inputs(options.inputs, options.report)
        options = replace(options, inputs=tuple(inputs), report=report)
    elif not options.inputs:
        raise UsageError("Missing argument: name images or folders to score; --demo scores sample images")
    from ..scan.scan import scan

    score_and_exit(partial(scan, options, sys.stdin.buffer))


def main() -> None:
    """Entry point: user errors become one line on stderr and an exit code."""
    run_command(app)
