"""What `cinemae-export` was asked for, and whether it makes sense, before anything slow is imported."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ..runtime.errors import EngineError, UsageError

if TYPE_CHECKING:
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
