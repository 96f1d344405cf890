"""The options of `cinemae-export`, each declared once. Imports nothing heavy, because `--help` shows them."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, get_args

from ..runtime.core.errors import UsageError
from ..runtime.core.option import Option
from ..runtime.engines.tensorrt.library import HardwareCompatibility

if TYPE_CHECKING:
    from ..runtime.core.manifest import Precision


@dataclass(frozen=True, kw_only=True)
class BuildOptions:
    """How TensorRT builds a plan.

    Attributes:
        min_batch: smallest batch of the plan.
        best_batch: batch that the plan is tuned for.
        max_batch: largest batch of the plan.
        workspace: MiB of scratch memory that the plan may use. Default: TensorRT's own limit.
        timing_cache: file that makes later plan builds faster.
        hardware_compatibility: further GPUs that the plan runs on: none, same_compute_capability or ampere_plus.
        version_compatible: the plan also runs on later versions of TensorRT, those of the next major included.

    Raises:
        UsageError: a profile or compatibility that does not exist.
    """

    min_batch: int = 1
    best_batch: int = 8
    max_batch: int = 32
    workspace: int | None = None
    timing_cache: Path | None = None
    hardware_compatibility: HardwareCompatibility = "none"
    version_compatible: bool = False

    def __post_init__(self) -> None:
        if not 1 <= self.min_batch <= self.best_batch <= self.max_batch:
            raise UsageError(f"batch profile {self.batch}: must be 1 <= smallest <= best <= largest")
        if self.hardware_compatibility not in get_args(HardwareCompatibility):
            raise UsageError(f"--hardware-compatibility must be one of {', '.join(get_args(HardwareCompatibility))}")

    @property
    def batch(self) -> tuple[int, int, int]:
        """Smallest, best and largest batch."""
        return self.min_batch, self.best_batch, self.max_batch


@dataclass(frozen=True, kw_only=True)
class Request:
    """What to export, or which engine to deploy, and how.

    Attributes:
        source: checkpoint folder of cinemae-train fit, or an engine .onnx for --tensorrt, --triton, --web and --push.
            Default: the last trained checkpoint.
        out: folder for the files.
        name: file name without suffix. Default: cinemae, or the stem of a source engine.
        backbone: where the backbone lies, if not where the checkpoint says.
        fp16: half precision in the graph, for GPUs.
        bf16: bfloat16 products, for CPUs with AMX or of AMD's Zen 5 (in OpenVINO) and GPUs.
        int8: integer products for CPUs with VNNI.
        calibration: labelled images, in any form that `cinemae train` reads. They set INT8's activation ranges; with
            --bf16, where optional, likelihood ratio and thresholds from the scores of those outside of its train split.
        report: labelled images on which the cost of the precision is measured (NAME.report.md): likewise.
        report_images: largest number of images for --report; 0 takes all.
        parts: also write encoder.onnx, decoder.onnx and head.onnx in NAME-parts/.
        tensorrt: write NAME.plan. Default: for fp16, where TensorRT finds a GPU.
        triton: also write a Triton model repository in this folder.
        web: also write a site in this folder that scores in the browser.
        ort: with --web: folder of onnxruntime-web, which is copied into the site.
        push: also upload engine, card and figures to this repository of the hub.
        licence: licence of the engine, for its manifest. Default: that of the weights.
        force: overwrite an engine of another precision.
        build: how a plan is built.

    Raises:
        UsageError: options that contradict each other.
    """

    source: Annotated[Path | None, Option(argument=True, metavar="CHECKPOINT")] = None
    out: Path = Path("models")
    name: str | None = None
    backbone: str | None = None
    fp16: bool = False
    bf16: bool = False
    int8: bool = False
    calibration: Annotated[str | None, Option(metavar="DATA")] = None
    report: Annotated[str | None, Option(metavar="DATA")] = None
    report_images: Annotated[int, Option(minimum=0)] = 0
    parts: bool = False
    tensorrt: Annotated[bool | None, Option(names=("--tensorrt/--no-tensorrt",))] = None
    triton: Path | None = None
    web: Path | None = None
    ort: Path | None = None
    push: Annotated[str | None, Option(metavar="hf://ORG/REPO")] = None
    licence: str | None = None
    force: bool = False
    build: BuildOptions = field(default_factory=BuildOptions)

    def __post_init__(self) -> None:
        if self.name is not None and (not self.name or Path(self.name).name != self.name):
            raise UsageError(f"--name {self.name!r} must be a file name without a folder; the folder is --out")
        if self.out.suffix in (".onnx", ".plan"):
            raise UsageError(f"--out {self.out} is the folder to write to; name the file with --name {self.out.stem}")
        if self.fp16 + self.bf16 + self.int8 > 1:
            raise UsageError("--fp16, --bf16 and --int8 exclude each other")
        if self.int8 and self.calibration is None:
            raise UsageError("--int8 needs --calibration DATA: labelled images that set the activation ranges")
        if self.precision == "fp32" and self.report is not None:
            raise UsageError("--report is for --fp16, --bf16 and --int8: it measures their cost against float32")
        if self.ort is not None and self.web is None:
            raise UsageError("--ort names the onnxruntime-web of a site: it goes with --web DIR")
        if self.engine is not None:
            if not (self.tensorrt or self.triton or self.web or self.push):
                ways = "add --tensorrt, --triton DIR or --web DIR, or --push hf://org/repo"
                raise UsageError(f"{self.engine} is an engine already: {ways}")
            if self.precision != "fp32" or self.parts or self.licence:
                raise UsageError("precision, --parts and --licence are for the export of a checkpoint")

    @property
    def precision(self) -> Precision:
        """Of the graph."""
        return "fp16" if self.fp16 else "bf16" if self.bf16 else "int8" if self.int8 else "fp32"

    @property
    def engine(self) -> Path | None:
        """The engine that is deployed; None where a checkpoint is exported."""
        return self.source if self.source is not None and self.source.suffix == ".onnx" else None
