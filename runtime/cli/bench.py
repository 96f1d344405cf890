"""`cinemae bench`: latency and throughput, split into decode, preprocess and inference."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from ..diagnose.options import BenchOptions
from .common import Version, command_app, run_command
from .expand import expanded

app = command_app()


@app.command()
@expanded
def bench(
    options: BenchOptions,
    json: Annotated[bool, typer.Option("--json", help="Print JSON instead of the table.")] = False,
    out: Annotated[Path | None, typer.Option(help="Also write the JSON to this file.")] = None,
    version: Version = False,
) -> None:
    """Measure an engine: p50 and p95 of each step, images a second, and the ratio to a baseline.

    Exit codes: 0 measured, 2 usage, 3 engine or environment.
    """
    import itertools
    from dataclasses import asdict
    from functools import partial
    from json import dumps

    from ..core.errors import UsageError
    from ..core.files import write_text, writing
    from ..diagnose.bench import MAX_DECODED
    from ..diagnose.bench import bench as measure
    from ..diagnose.bench_result import table
    from ..scan.inputs import Inputs
    from ..scan.targets import begins, check_file

    if out is not None:
        check_file("--out", out, partial(begins, b'{\n  "machine": {'), "a benchmark")
    listed = Inputs(options.inputs, sys.stdin.buffer) if options.inputs else ()
    items = list(itertools.islice(listed, MAX_DECODED))
    sources = [item.image for item in items if item.error is None]
    if options.inputs and not sources:
        why = f" ({items[0].name}: {items[0].error})" if items else ""
        raise UsageError(f"the inputs name no images{why}")
    result = measure(options, sources, lambda text: print(text, file=sys.stderr, flush=True))
    text = dumps(asdict(result), indent=2)
    if out is not None:
        with writing(out):
            write_text(out, text + "\n")
    print(text if json else table(result))


def main() -> None:
    """Entry point: user errors become one line on stderr and an exit code."""
    run_command(app)
