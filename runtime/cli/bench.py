"""`cinemae-bench`: latency and throughput, split into decode, preprocess and inference."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from .common import Device, EngineFile, command_app, print_version, run_command

app = command_app()


def _numbers(text: str, option: str) -> tuple[int, ...]:
    """Positive integers from "1,8"."""
    from ..core.errors import UsageError

    try:
        numbers = tuple(int(part) for part in text.split(","))
    except ValueError:
        numbers = ()
    if not numbers or min(numbers) < 1:
        raise UsageError(f"{option} takes positive numbers with commas between them, such as 1,8; got {text!r}")
    return numbers


@app.command()
def bench(
    inputs: Annotated[
        list[str] | None, typer.Argument(help="Images, folders, globs or @list.txt. Default: rendered JPEGs.")
    ] = None,
    engine: EngineFile = None,
    baseline: Annotated[
        list[Path] | None,
        typer.Option(help="Another engine, measured in turn with the first; ratios are to the first."),
    ] = None,
    device: Device = "auto",
    batch_sizes: Annotated[str, typer.Option(help="Comma-separated.")] = "1,8",
    threads: Annotated[
        str | None, typer.Option(help="CPU threads of one inference, comma-separated. Default: the backend chooses.")
    ] = None,
    workers: Annotated[int | None, typer.Option(help="Decoding threads of the pipeline. Default: one per CPU.")] = None,
    seconds: Annotated[float, typer.Option(help="Measuring time for each figure.")] = 3.0,
    json: Annotated[bool, typer.Option("--json", help="Print JSON instead of the table.")] = False,
    out: Annotated[Path | None, typer.Option(help="Also write the JSON to this file.")] = None,
    version: Annotated[
        bool, typer.Option("--version", callback=print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
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
    from ..diagnose.bench import MAX_DECODED, BenchOptions
    from ..diagnose.bench import bench as measure
    from ..diagnose.bench_result import table
    from ..scan.inputs import Inputs
    from ..scan.targets import begins, check_file

    options = BenchOptions(
        engines=(engine, *(baseline or ())), device=device, batch_sizes=_numbers(batch_sizes, "--batch-sizes"),
        threads=_numbers(threads, "--threads") if threads else (None,), workers=workers, seconds=seconds,
    )
    if out is not None:
        check_file("--out", out, partial(begins, b'{\n  "machine": {'), "a benchmark")
    listed = Inputs(tuple(inputs), sys.stdin.buffer) if inputs else ()
    items = list(itertools.islice(listed, MAX_DECODED))
    paths = [item.path for item in items if item.error is None]
    if inputs and not paths:
        why = f" ({items[0].path}: {items[0].error})" if items else ""
        raise UsageError(f"the inputs name no images{why}")
    result = measure(options, paths, lambda text: print(text, file=sys.stderr, flush=True))
    text = dumps(asdict(result), indent=2)
    if out is not None:
        with writing(out):
            write_text(out, text + "\n")
    print(text if json else table(result))


def main() -> None:
    """Entry point: user errors become one line on stderr and an exit code."""
    run_command(app)


if __name__ == "__main__":
    main()
