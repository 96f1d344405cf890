"""`cinemae-export`: parse and call."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..runtime.cli.common import command_app, print_version, run_command

app = command_app()


@app.command()
def export(
    source: Annotated[
        Path | None,
        typer.Argument(
            metavar="[CHECKPOINT]",
            help="Checkpoint folder of cinemae-train fit (default: the last trained), or an engine .onnx "
            "for --tensorrt, --triton, --web and --push.",
        ),
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for the files.")] = Path("models"),
    name: Annotated[str | None, typer.Option(help="File name without suffix  [default: cinemae]")] = None,
    backbone: Annotated[
        str | None, typer.Option(help="Where the backbone lies, if not where the checkpoint says.")
    ] = None,
    fp16: Annotated[bool, typer.Option("--fp16", help="Half precision in the graph, for GPUs.")] = False,
    int8: Annotated[bool, typer.Option("--int8", help="Integer products for CPUs with VNNI.")] = False,
    calibration: Annotated[Path | None, typer.Option(help="Labelled images that set INT8's activation ranges.")] = None,
    qdq: Annotated[bool, typer.Option("--qdq", help="With --int8: also NAME-qdq.onnx, for TensorRT.")] = False,
    report: Annotated[
        Path | None, typer.Option(help="Labelled images: measure what the precision costs (NAME.report.md).")
    ] = None,
    report_images: Annotated[int, typer.Option(min=0, help="At most so many of them; 0 takes all.")] = 0,
    parts: Annotated[
        bool, typer.Option("--parts", help="Also encoder.onnx, decoder.onnx, head.onnx in NAME-parts/.")
    ] = False,
    tensorrt: Annotated[
        bool | None, typer.Option("--tensorrt/--no-tensorrt", help="NAME.plan  [default: for fp16 where a GPU is]")
    ] = None,
    triton: Annotated[Path | None, typer.Option(help="Also a Triton model repository in this folder.")] = None,
    web: Annotated[Path | None, typer.Option(help="Also a site in this folder that scores in the browser.")] = None,
    ort: Annotated[Path | None, typer.Option(help="With --web: folder of onnxruntime-web, to copy it.")] = None,
    push: Annotated[
        str | None, typer.Option(metavar="hf://ORG/REPO", help="Also upload engine, card and figures to the hub.")
    ] = None,
    licence: Annotated[
        str | None, typer.Option(help="Licence of the engine, for its manifest  [default: the backbone's]")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite an engine of another precision.")] = False,
    min_batch: Annotated[int, typer.Option(help="Smallest batch of the plan.")] = 1,
    best_batch: Annotated[int, typer.Option(help="Batch the plan is tuned for.")] = 8,
    max_batch: Annotated[int, typer.Option(help="Largest batch of the plan.")] = 32,
    workspace: Annotated[int | None, typer.Option(help="MiB the plan may use for scratch memory.")] = None,
    timing_cache: Annotated[Path | None, typer.Option(help="File that makes later plan builds faster.")] = None,
    hardware_compatibility: Annotated[
        str, typer.Option(help="none, same_compute_capability or ampere_plus: GPUs the plan runs on.")
    ] = "none",
    version_compatible: Annotated[
        bool, typer.Option("--version-compatible", help="The plan also runs on later minor TensorRT versions.")
    ] = False,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", callback=print_version, is_eager=True)
    ] = False,
) -> None:
    """Export a checkpoint as an engine, NAME.onnx, checked against eager PyTorch; exit 3 where a tolerance fails."""
    from typing import cast, get_args

    from ..runtime.core.errors import UsageError
    from ..runtime.engines.tensorrt.sidecar import HardwareCompatibility
    from .export import export_request
    from .request import BuildOptions, Request

    if fp16 and int8:
        raise UsageError("--fp16 and --int8 exclude each other")
    if hardware_compatibility not in get_args(HardwareCompatibility):
        raise UsageError(f"--hardware-compatibility must be one of {', '.join(get_args(HardwareCompatibility))}")
    build = BuildOptions(
        (min_batch, best_batch, max_batch), workspace, timing_cache,
        cast("HardwareCompatibility", hardware_compatibility), version_compatible,
    )
    export_request(
        Request(
            source, out, name, backbone, "fp16" if fp16 else "int8" if int8 else "fp32", calibration, report,
            report_images, qdq, parts, tensorrt, triton, force, build, web, ort, push, licence,
        )
    )


def main() -> None:
    """Entry point: errors that are the user's to fix go to stderr without a traceback, with their exit code."""
    run_command(app)
