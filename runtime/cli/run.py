"""`cinemae-run`: score images and print one record each."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from .common import Device, EngineFile, Prior, Threshold, command_app, only_with, print_version, run_command

app = command_app()

ON_INTERRUPT, ON_CLOSED_PIPE = 130, 141
"""128 + SIGINT and 128 + SIGPIPE, as shells report them."""

EXAMPLES = """\b
Examples:
  cinemae-run --demo                                sample images; writes cinemae-demo.html
  cinemae-run photos/                               a table; JSON lines in a pipe
  cinemae-run photos/ --report report.html          a page with pictures
  cinemae-run photos/ --out s.jsonl --resume        go on after a kill
  find . -newer mark -print0 | cinemae-run - -0     names on stdin
"""


@app.command(epilog=EXAMPLES)
def run(
    inputs: Annotated[
        list[str] | None,
        typer.Argument(
            help="Files, folders (recursive), zip and tar, globs, @list.txt, or - (names on stdin).", show_default=False
        ),
    ] = None,
    demo: Annotated[
        bool, typer.Option("--demo", help="Score the sample images of this package and write cinemae-demo.html.")
    ] = False,
    engine: EngineFile = None,
    device: Device = "auto",
    format: Annotated[
        str | None,
        typer.Option(
            metavar="[jsonl|json|csv|parquet]",
            help="Default: by the suffix of --out; a table on a terminal; else jsonl. With --ray: jsonl or parquet.",
        ),
    ] = None,
    out: Annotated[
        str | None, typer.Option(help="Write records here instead of stdout; with --ray a folder or URL for shards.")
    ] = None,
    threshold: Threshold = None,
    prior: Prior = 0.5,
    batch_size: Annotated[
        int | None, typer.Option(help="Images per inference. Default: the best batch of a plan, else 8.")
    ] = None,
    workers: Annotated[int | None, typer.Option(help="Decoding threads. Default: one per CPU.")] = None,
    threads: Annotated[
        int | None, typer.Option(help="CPU threads of one inference. Default: the backend chooses.")
    ] = None,
    decode: Annotated[
        str | None,
        typer.Option(
            metavar="[full|scaled]",
            help="scaled: faster for JPEGs above 1024 pixels; changes scores a little, and the records say so. "
            "Default: as the engine was fitted.",
        ),
    ] = None,
    frames: Annotated[
        str,
        typer.Option(
            metavar="[first|all|N]",
            help="Frames of an animation or video that are scored, spread over it; the most suspicious one counts.",
        ),
    ] = "4",
    tiles: Annotated[
        bool,
        typer.Option("--tiles", help="Score overlapping squares of the whole image: an indication."),
    ] = False,
    heatmaps: Annotated[Path | None, typer.Option(help="Save a heatmap of each image in this folder.")] = None,
    report: Annotated[
        Path | None, typer.Option(help="Write the results and pictures as one self-contained HTML page.")
    ] = None,
    resume: Annotated[
        bool,
        typer.Option("--resume", help="Keep the records in --out whose input has not changed, and score the rest."),
    ] = False,
    watch: Annotated[
        bool, typer.Option("--watch", help="Score new files in the given folders once they are complete, until Ctrl-C.")
    ] = False,
    ray: Annotated[
        str | None,
        typer.Option(
            metavar="[ADDRESS]",
            help="Score on a Ray cluster: HOST:PORT, ray://HOST:PORT, auto, local. Inputs may be URLs, .tar, .parquet.",
        ),
    ] = None,
    ray_actors: Annotated[
        int | None, typer.Option(help="With --ray: engines. Default: one per GPU, or as many as fit the CPUs.")
    ] = None,
    ray_column: Annotated[
        str | None, typer.Option(help="With --ray: the Parquet column that holds the images. Default: detected.")
    ] = None,
    settle: Annotated[
        float | None,
        typer.Option(help="With --watch: seconds without a change until a file is complete. Default: 2."),
    ] = None,
    fail_on_ai: Annotated[bool, typer.Option("--fail-on-ai", help="Exit with 4 if an image is judged ai.")] = False,
    allow_empty: Annotated[
        bool, typer.Option("--allow-empty", help="Exit with 0 where there is no image to score, instead of 2.")
    ] = False,
    null: Annotated[
        bool, typer.Option("--null", "-0", help="Names in lists and on stdin end with a zero byte.")
    ] = False,
    allow_url: Annotated[
        bool, typer.Option("--allow-url", help="Fetch inputs that are http or https URLs, from public addresses.")
    ] = False,
    stdin_image: Annotated[
        bool, typer.Option("--stdin-image", help="The input - is an image on stdin, no list of names.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Only errors on stderr.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Tell AI-generated images from photographs: one record per input, in input order.

    Exit codes: 0 all scored, 1 some inputs failed, 2 usage, 3 engine or environment, 4 AI found under --fail-on-ai.
    """
    from ..core.errors import UsageError

    if not inputs and not demo:
        raise UsageError("Missing argument: name images or folders to score; --demo scores sample images")
    inputs = inputs or []
    only_with("--watch", watch, settle=settle is not None)
    only_with("--ray", ray is not None, ray_actors=ray_actors is not None, ray_column=ray_column is not None)
    only_with("the input -", "-" in inputs, stdin_image=stdin_image)
    if ray is not None:
        from ..ray.address import require_ray
        from ..ray.options import RayOptions
        from ..ray.supervised import supervise

        local = {"heatmaps": heatmaps, "report": report, "watch": watch, "decode": decode, "tiles": tiles,
                 "stdin-image": stdin_image, "demo": demo}
        chosen = RayOptions(
            inputs=tuple(inputs), out=out or "", address=ray, engine=engine, device=device, threads=threads,
            format=format, threshold=threshold, prior=prior, batch_size=batch_size, workers=workers,
            actors=ray_actors, column=ray_column, resume=resume, fail_on_ai=fail_on_ai, quiet=quiet, null=null,
            allow_empty=allow_empty, allow_url=allow_url, frames=frames,
            refused=tuple(f"--{name}" for name, given in local.items() if given),
        )
        supervise("the same command with --resume scores what is missing")
        require_ray()
        from ..ray.scan import scan_on_ray

        raise typer.Exit(scan_on_ray(chosen, sys.stdin.buffer))

    from ..images.library_messages import silence_libraries
    from ..scan.scan import ScanOptions, scan

    if demo:
        from ..scan.demo import demo_inputs

        inputs, report = demo_inputs(inputs, report)
    silence_libraries()
    options = ScanOptions(
        inputs=tuple(inputs), engine=engine, device=device, threads=threads, format=format,
        out=None if out is None else Path(out),
        threshold=threshold, prior=prior, batch_size=batch_size, workers=workers,
        heatmaps=heatmaps, report=report, resume=resume, watch=watch, settle=2.0 if settle is None else settle,
        decode=decode, frames=frames, tiles=tiles, allow_url=allow_url, stdin_image=stdin_image,
        fail_on_ai=fail_on_ai, quiet=quiet, null=null, allow_empty=allow_empty,
    )
    try:
        code = scan(options, sys.stdin.buffer)
    except BrokenPipeError:
        # the reader of stdout has gone (`head`, for example): nothing may be flushed into the closed pipe at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = ON_CLOSED_PIPE
    except KeyboardInterrupt:
        print("interrupted; with --out FILE.jsonl, --resume continues", file=sys.stderr)
        code = ON_INTERRUPT
    raise typer.Exit(code)


def main() -> None:
    """Entry point: user errors become one line on stderr and an exit code."""
    from ..ray.address import with_address

    run_command(app, with_address(sys.argv[1:]))


if __name__ == "__main__":
    main()
