"""Results of a benchmark: timings, rows, the hardware they belong to, and the printed table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..core.environment import cpu_features, usable_cpus
from . import hardware


@dataclass(frozen=True)
class Timing:
    """Milliseconds of `count` measurements: median, 95th percentile and mean."""

    p50_ms: float
    p95_ms: float
    mean_ms: float
    count: int


@dataclass(frozen=True)
class InferenceRow:
    """One engine at one batch size: the timing of an inference, and images a second at the median time.

    `threads` is None for the backend's choice; `ratio` is the time relative to the first baseline, None without a
    baseline and for the baseline itself; `first_ms` is the first inference after loading.
    """

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
    """The whole pipeline, from inputs to records: throughput, and its share of the throughput of inference alone."""

    engine: str
    inputs: str
    batch: int
    workers: int
    images: int
    images_per_s: float
    share: float


@dataclass
class BenchResult:
    """The whole result; `decode` and `preprocess` time one input, `inputs` names the kind of inputs in words.

    `product_ms` has the median time of one product of ViT-L on the CPU, "fp32" and "int8"; empty without onnxruntime.
    """

    machine: dict[str, Any]
    """See `describe_machine`."""
    inputs: str
    decode: Timing
    preprocess: Timing
    inference: list[InferenceRow] = field(default_factory=list)
    pipeline: list[PipelineRow] = field(default_factory=list)
    product_ms: dict[str, float] = field(default_factory=dict)


def timing(seconds: Sequence[float] | np.ndarray) -> Timing:
    """Percentiles of a series of durations."""
    values = np.asarray(seconds) * 1000
    return Timing(float(np.percentile(values, 50)), float(np.percentile(values, 95)), float(values.mean()), len(values))


def describe_machine() -> dict[str, Any]:
    """CPU, cores, GPUs and package versions of this machine."""
    gpus = hardware.gpus()
    names = ("cinemae", "onnxruntime", "onnxruntime-gpu", "openvino", "tensorrt", "numpy", "pillow")
    return {
        "cpu": hardware.cpu_name(),
        "cores": usable_cpus(),
        "cpu_features": cpu_features(),
        "gpu": [gpu.name for gpu in gpus] if not isinstance(gpus, str) else [],
        "packages": {name: version for name in names if (version := hardware.installed(name))},
    }


def table(result: BenchResult) -> str:
    """The result as a text table."""
    product = "one product of ViT-L here: {fp32:.0f} ms in float32, {int8:.0f} ms in 8 bits"
    lines = [
        f"{result.machine['cpu']}, {result.machine['cores']} cores; " + (", ".join(result.machine["gpu"]) or "no GPU"),
        hardware.cpu_advice(result.machine.get("cpu_features", ())),
        product.format(**result.product_ms) if result.product_ms else "",
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
                  f"{pipe.share:.0%} of the engine alone"]
    return "\n".join(line for at, line in enumerate(lines) if line or at not in (1, 2))
