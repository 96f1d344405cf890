"""The command line of `cinemae-export` as data, checked before anything slow is imported."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from ..runtime.core.errors import EngineError, UsageError
from ..runtime.engines.tensorrt.sidecar import HardwareCompatibility
from ..runtime.scan.targets import check_writable
from ..train.fitting.checkpoint_folder import last_checkpoint, read_manifest
from .hub import repository
from .licence import engine_licence
from .output_names import check_names, refuse_bundled

Precision = Literal["fp32", "fp16", "int8"]


@dataclass(frozen=True)
class BuildOptions:
    """How TensorRT builds a plan.

    Attributes:
        batch: smallest, best and largest batch of the optimisation profile.
        workspace_mib: scratch memory in MiB; None leaves it to TensorRT.
        timing_cache: file of kernel timings that makes later builds faster.
        hardware_compatibility: GPUs the plan runs on, see `plan_sidecar`.
        version_compatible: whether the plan also runs on later minor versions of TensorRT.

    Raises:
        UsageError: unless 1 <= smallest <= best <= largest.
    """

    batch: tuple[int, int, int] = (1, 8, 32)
    workspace_mib: int | None = None
    timing_cache: Path | None = None
    hardware_compatibility: HardwareCompatibility = "none"
    version_compatible: bool = False

    def __post_init__(self) -> None:
        smallest, best, largest = self.batch
        if not 1 <= smallest <= best <= largest:
            raise UsageError(f"batch profile {self.batch}: must be 1 <= smallest <= best <= largest")


@dataclass(frozen=True)
class Request:
    """The command line.

    Attributes:
        source: checkpoint folder, or a fused .onnx engine (with --tensorrt, --triton or --web); None: the last trained.
        out: folder for the files.
        name: file name without suffix; None is "cinemae", or the stem of a source engine.
        backbone: where the backbone lies, if not where the checkpoint says.
        precision: of the graph.
        range_data: labelled images that set INT8's activation ranges (--calibration).
        report: labelled images on which the cost of a lower precision is measured.
        report_images: how many of them at most; 0 is all.
        qdq: whether NAME-qdq.onnx for TensorRT is written beside an INT8 engine.
        parts: whether the three parts are written.
        tensorrt: whether a plan is built; None tries for fp16 where TensorRT and a GPU are there.
        triton: folder of a Triton model repository to write.
        force: whether an engine of the same name in another precision is overwritten.
        build: how TensorRT builds the plan.
        web: folder of a site that scores in the browser.
        ort: folder of onnxruntime-web to copy into the site.
        push: `hf://org/repo` to upload the engine to.
        licence: of the engine; None is that of its backbone.
    """

    source: Path | None
    out: Path
    name: str | None = None
    backbone: str | None = None
    precision: Precision = "fp32"
    range_data: Path | None = None
    report: Path | None = None
    report_images: int = 0
    qdq: bool = False
    parts: bool = False
    tensorrt: bool | None = None
    triton: Path | None = None
    force: bool = False
    build: BuildOptions = field(default_factory=BuildOptions)
    web: Path | None = None
    ort: Path | None = None
    push: str | None = None
    licence: str | None = None

    @property
    def from_engine(self) -> bool:
        """Whether the source is an engine to deploy instead of a checkpoint to export."""
        return self.source is not None and self.source.suffix == ".onnx"


def check(request: Request) -> None:
    """Check the options and the source, before torch is imported.

    Raises:
        UsageError: options contradict each other, or the source is neither a checkpoint nor an engine.
        ManifestError: the checkpoint's manifest is damaged.
        EngineError: the source engine is missing.
        OutputError: a folder cannot be written to, or its path goes through a file.
    """
    check_names(request.name, request.out)
    for folder in filter(None, (request.out, request.triton, request.web)):
        check_writable(folder, folder)
    if request.precision == "int8" and request.range_data is None:
        raise UsageError("--int8 needs --calibration DATA: labelled images that set the activation ranges")
    if request.qdq and request.precision != "int8":
        raise UsageError("--qdq writes the INT8 graph for TensorRT: it goes with --int8")
    if request.precision == "fp32" and request.report is not None:
        raise UsageError("--report measures what --fp16 or --int8 costs; float32 is what it measures against")
    if request.ort is not None and request.web is None:
        raise UsageError("--ort names the onnxruntime-web of a site: it goes with --web DIR")
    if request.push is not None:
        repository(request.push)
    if request.source is not None and request.from_engine:
        if not request.source.is_file():
            raise EngineError(f"{request.source}: no such engine file")
        if not request.tensorrt and request.triton is None and request.web is None and request.push is None:
            ways = "add --tensorrt, --triton DIR or --web DIR, or --push hf://org/repo"
            raise UsageError(f"{request.source} is an engine already: {ways}")
        if request.precision != "fp32" or request.parts or request.licence:
            raise UsageError("precision, --parts and --licence go with the export of a checkpoint, not with an engine")
    else:
        refuse_bundled(request.out / f"{request.name or 'cinemae'}.onnx")
        engine_licence(read_manifest(request.source or last_checkpoint()), request.licence)
