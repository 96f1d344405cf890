"""What a benchmark found: timings, rows, the machine they belong to, and the table for people."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from ..cpus import usable_cpus
from . import hardware as machine


@dataclass(frozen=True)
class Timing:
    """Of `count` measurements, in milliseconds."""

    p50_ms: float
    p95_ms: float
    mean_ms: float
    count: int


@dataclass(frozen=True)
class InferenceRow:
    """One engine at one batch size. ratio: its time over the first baseline's; None without one, and for itself."""

    engine: str
    path: str
    provider: str
    threads: int | None
    batch: int
    timing: Timing
    images_per_s: float
    ratio: float | None
    load_s: float
    first_ms: float


@dataclass(frozen=True)
class PipelineRow:
    """Inputs to records: decode in `workers` threads ahead of inference. share: of the engine's own throughput."""

    engine: str
    inputs: str
    batch: int
    workers: int
    images: int
    images_per_s: float
    share: float


@dataclass
class BenchResult:
    """Everything measured; `as_dict` is the JSON."""

    machine: dict[str, Any]
    inputs: str
    decode: Timing
    preprocess: Timing
    inference: list[InferenceRow] = field(default_factory=list)
    pipeline: list[PipelineRow] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        return asdict(self)


def timing(seconds: Sequence[float] | np.ndarray) -> Timing:
    """Percentiles of a series of durations."""
    values = np.asarray(seconds) * 1000
    return Timing(float(np.percentile(values, 50)), float(np.percentile(values, 95)), float(values.mean()), len(values))


def describe_machine() -> dict[str, Any]:
    """What the figures belong to."""
    gpus = machine.gpus()
    names = ("cinemae", "onnxruntime", "onnxruntime-gpu", "openvino", "tensorrt", "numpy", "pillow")
    return {
        "cpu": machine.cpu_name(),
        "cores": usable_cpus(),
        "gpu": [gpu.name for gpu in gpus] if not isinstance(gpus, str) else [],
        "packages": {name: found for name in names if (found := machine.installed(name))},
    }


def table(result: BenchResult) -> str:
    """The result for people."""
    lines = [
        f"{result.machine['cpu']}, {result.machine['cores']} cores; " + (", ".join(result.machine["gpu"]) or "no GPU"),
        f"{result.inputs}, one at a time in one thread:",
        f"  decode      p50 {result.decode.p50_ms:8.2f} ms   p95 {result.decode.p95_ms:8.2f} ms",
        f"  preprocess  p50 {result.preprocess.p50_ms:8.2f} ms   p95 {result.preprocess.p95_ms:8.2f} ms",
        "",
        f"{'engine':36} {'threads':>7} {'batch':>5} {'p50 ms':>9} {'p95 ms':>9} {'images/s':>9} {'x baseline':>10}",
    ]
    for row in result.inference:
        ratio = "" if row.ratio is None else f"{row.ratio:.3f}"
        lines.append(
            f"{row.engine[:36]:36} {row.threads or 'auto':>7} {row.batch:5} {row.timing.p50_ms:9.2f} "
            f"{row.timing.p95_ms:9.2f} {row.images_per_s:9.1f} {ratio:>10}"
        )
    for pipe in result.pipeline:
        lines += ["", f"whole pipeline on {pipe.inputs}, batch {pipe.batch}, {pipe.workers} decoding threads:",
                  f"  {pipe.images_per_s:.1f} images/s over {pipe.images} images, "
                  f"{pipe.share:.0%} of the engine alone"]  # fmt: skip
    return "\n".join(lines)
