"""What `cinemae-export` does: load the checkpoint, write what was asked for, print the parity table."""

from __future__ import annotations

import importlib.util
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ..runtime.errors import CinemaeError, EngineError, MissingDependencyError, UsageError

if TYPE_CHECKING:
    from ..runtime.manifest import Manifest
    from .tensorrt import BuildOptions

Precision = Literal["fp32", "fp16", "int8"]


@dataclass(frozen=True)
class Request:
    """The command line.

    source: checkpoint folder, a fused .onnx engine (for --tensorrt or --triton), None for the last trained.
    calibration: labelled images for int8's ranges. report: labelled images to measure a lower precision's cost on.
    tensorrt: None builds a plan if TensorRT and a GPU are there.
    """

    source: Path | None
    out: Path
    name: str | None = None
    backbone: str | None = None
    precision: Precision = "fp32"
    calibration: Path | None = None
    report: Path | None = None
    report_images: int = 0
    qdq: bool = False
    parts: bool = False
    tensorrt: bool | None = None
    triton: Path | None = None
    batch: tuple[int, int, int] = (1, 8, 32)
    build: dict[str, object] = field(default_factory=dict)

    def options(self) -> BuildOptions:
        """How TensorRT shall build."""
        from .tensorrt import BuildOptions

        return BuildOptions(batch=self.batch, **self.build)  # type: ignore[arg-type]


def require_packages() -> None:
    """Raise MissingDependencyError with the pip line if an optional package is missing."""
    for package in ("torch", "timm", "onnx", "onnxruntime"):
        if importlib.util.find_spec(package) is None:
            raise MissingDependencyError(f"cinemae-export needs {package}: pip install 'cinemae[export,cpu]'")


def say(text: str) -> None:
    """Progress goes to stderr; stdout holds the parity table alone."""
    print(text, file=sys.stderr, flush=True)


def run(request: Request) -> None:
    """Export.

    Raises:
        UsageError: no checkpoint, options that do not fit together, or the bundled engine's name.
        ParityError: a file disagrees with eager PyTorch.
        MissingDependencyError: an extra is not installed, or TensorRT was asked for and finds no GPU.
        EngineError: a source engine or a build fails.
    """
    check(request)
    if request.source is not None and request.source.suffix == ".onnx":
        name = request.name or request.source.stem
        deploy(request, request.source, request.source, name)
        return
    require_packages()
    from .checkpoint_export import export_checkpoint

    name = request.name or "cinemae"
    exported = export_checkpoint(request, name, say)
    print(exported.table, flush=True)
    exported.require()
    say(f"wrote {exported.engine}; next: cinemae-run PHOTOS --engine {exported.engine}")
    deploy(request, exported.engine, exported.tensorrt_source, name)


def check(request: Request) -> None:
    """Raise UsageError for options that contradict each other, before anything slow happens."""
    name = request.name
    if name is not None and (not name or Path(name).name != name):
        raise UsageError(f"--name {name!r} must be a file name without a folder; the folder is --out")
    if request.out.suffix in (".onnx", ".plan"):
        raise UsageError(f"--out {request.out} is the folder to write to; name the file with --name {request.out.stem}")
    if request.precision == "int8" and request.calibration is None:
        raise UsageError("--int8 needs --calibration DATA: labelled images that set the activation ranges")
    if request.qdq and request.precision != "int8":
        raise UsageError("--qdq writes the INT8 graph for TensorRT: it goes with --int8")
    if request.precision == "fp32" and request.report is not None:
        raise UsageError("--report measures what --fp16 or --int8 costs; float32 is what it measures against")
    if request.source is not None and request.source.suffix == ".onnx":
        if not request.source.is_file():
            raise EngineError(f"{request.source}: no such engine file")
        if not request.tensorrt and request.triton is None:
            raise UsageError(f"{request.source} is an engine already: add --tensorrt or --triton DIR")
        if request.precision != "fp32" or request.parts:
            raise UsageError("precision and --parts are chosen when a checkpoint is exported, not for an engine")
    request.options()


def deploy(request: Request, engine: Path, tensorrt_source: Path, name: str) -> None:
    """The plan and the Triton repository."""
    from ..runtime.integrity import check_content
    from ..runtime.onnx_file import read_manifest
    from .triton import write_repository

    manifest: Manifest = read_manifest(engine)
    plan = request.out / f"{name}.plan"
    built = None
    if request.tensorrt or (request.tensorrt is None and tensorrt_is_there()):
        from .tensorrt import build_plan

        built = build_plan(tensorrt_source, plan, request.options())
        say(f"wrote {plan} ({built.gpu}, TensorRT {built.tensorrt})")
    if request.triton is not None:
        onnx_model = write_repository(
            engine, manifest, check_content(engine), request.triton, f"{name}_onnx", request.batch
        )
        say(f"wrote {onnx_model}/")
        if built is not None:
            plan_model = write_repository(
                plan, manifest, built.plan_sha256, request.triton, f"{name}_plan", request.batch
            )
            say(f"wrote {plan_model}/")


def tensorrt_is_there() -> bool:
    """Whether TensorRT and a GPU can be used, without asking for them."""
    if importlib.util.find_spec("tensorrt") is None:
        return False
    from ..runtime.backends.cuda import Cuda
    from ..runtime.backends.tensorrt import import_tensorrt

    try:
        import_tensorrt()
        Cuda.load().device()
    except CinemaeError:
        return False
    return True
