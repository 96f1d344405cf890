"""Checkpoint to ONNX engine in the precision asked for, with its report and its parity rows."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from ..train.data.samples import Sample
from ..train.fitting.checkpoint import LoadedCheckpoint, last_checkpoint, load_checkpoint
from .engine_file import refuse_bundled
from .fused import export_fused, packed_graph, write_fused
from .graph.packed import PackedDetector
from .graph.parts import export_parts
from .int8.ranges import sample
from .int8.recipe import LayerPlan, plan
from .int8.rewrite import quantise_for_cpu, quantise_for_tensorrt
from .parity import BATCHES, Row, format_table, parity_images, parity_table, require
from .quality import (
    CALIBRATION_IMAGES,
    Quality,
    as_data,
    format_quality,
    labelled,
    load_batches,
    measure,
    spread,
    write_report,
)

if TYPE_CHECKING:
    from .request import Request

HALF_LARGEST = 65504.0


@dataclass(frozen=True)
class Exported:
    """engine: the fused ONNX file. tensorrt_source: what a plan is built from. rows: the parity comparison."""

    engine: Path
    tensorrt_source: Path
    table: str
    rows: list[Row]

    def require(self) -> None:
        """Raise ParityError if a comparison is beyond its tolerance."""
        require(self.rows)


def export_checkpoint(request: Request, name: str, say: Callable[[str], None]) -> Exported:
    """Write the engine, the parts and the report; compare with eager PyTorch."""
    engine = request.out / f"{name}.onnx"
    refuse_bundled(engine)
    # read first: what cannot be read is said before anything is written
    data = {folder: labelled(folder, None) for folder in (request.calibration, request.report) if folder is not None}
    folder = request.source or last_checkpoint()
    say(f"reading {folder}")
    loaded = load_checkpoint(folder, request.backbone)
    candidates: dict[str, tuple[Path, str]] = {}
    source = engine
    images = parity_images(max(BATCHES), loaded.detector.mae.config.image_size)
    say(f"writing {engine}")
    plans: Mapping[str, LayerPlan] = {}
    if request.precision == "int8":
        assert request.calibration is not None
        batches = calibration_batches(data[request.calibration], loaded)
        images = np.concatenate(batches)[: max(BATCHES)]
        plans, qdq = export_int8(loaded, engine, batches, request.qdq)
        if qdq is not None:
            candidates["int8 QDQ"] = (qdq, "int8")
            source = qdq
    else:
        export_fused(loaded.detector, loaded.manifest, engine, request.precision)
    candidates = {f"fused {request.precision}": (engine, request.precision), **candidates}
    if request.report is not None:
        report = request.out / f"{name}.report.md"
        say(f"measuring on {request.report} for {report}")
        say(export_report(request, data[request.report], loaded, engine, plans, report))
    if request.parts:
        parts = request.out / f"{name}-parts"
        say(f"writing {parts}/")
        export_parts(loaded.detector, loaded.manifest, parts)
        candidates["parts fp32"] = (parts, "fp32")
    say("comparing with eager PyTorch")
    rows = parity_table(loaded.detector, candidates, images)
    table = format_table(rows, {name: precision for name, (_, precision) in candidates.items()})
    return Exported(engine, source, table, rows)


def calibration_batches(samples: Sequence[Sample], loaded: LoadedCheckpoint) -> list[np.ndarray]:
    """Images for the activation ranges: uint8 batches, spread over the training split where the data has one."""
    training = [item for item in samples if item.split == "train"] or samples
    return [pixels for _, pixels in load_batches(spread(training, CALIBRATION_IMAGES), loaded.manifest.preprocess)]


def export_int8(
    loaded: LoadedCheckpoint, engine: Path, batches: Sequence[np.ndarray], qdq: bool
) -> tuple[dict[str, LayerPlan], Path | None]:
    """Write the INT8 engine, and beside it NAME-qdq.onnx for TensorRT if asked for."""
    packed = PackedDetector(loaded.detector)
    plans = plan(packed, batches)
    model = packed_graph(packed)
    quantise_for_cpu(model, packed, plans)
    write_fused(model, loaded.manifest, engine, "int8")
    if not qdq:
        return plans, None
    path = engine.with_name(f"{engine.stem}-qdq.onnx")
    model = packed_graph(packed)
    quantise_for_tensorrt(model, packed, plans)
    write_fused(model, loaded.manifest, path, "int8")
    return plans, path


def export_report(
    request: Request, samples: Sequence[Sample], loaded: LoadedCheckpoint, engine: Path,
    plans: Mapping[str, LayerPlan], path: Path,
) -> str:  # fmt: skip
    """Measure the engine against a float32 one on the held-out `samples`; write and return the report."""
    held_out = [item for item in samples if item.split != "train"] or samples
    chosen = spread(held_out, request.report_images or len(held_out))
    with tempfile.TemporaryDirectory() as folder:
        reference = Path(folder) / "fp32.onnx"
        export_fused(loaded.detector, loaded.manifest, reference)
        quality = measure(engine, reference, chosen)
    few = [pixels for _, pixels in load_batches(spread(held_out, CALIBRATION_IMAGES), loaded.manifest.preprocess)]
    peaks = block_peaks(PackedDetector(loaded.detector), few)
    text = report_text(request, quality, plans, peaks)
    data = {"quality": as_data(quality), "plan": {k: asdict(v) for k, v in plans.items()}, "peaks": peaks}
    write_report(path, text, data)
    return text


def block_peaks(packed: PackedDetector, batches: Sequence[np.ndarray]) -> dict[str, float]:
    """Largest |activation| that enters a matrix product of each block, float32, over the images."""
    peaks: dict[str, float] = {}
    for name, seen in sample(packed, batches).items():
        block = name.rpartition(".")[0] if ".blocks." in name else name
        peak = float(torch.maximum(seen.high.abs(), seen.low.abs()).max())
        peaks[block] = max(peaks.get(block, 0.0), peak)
    return peaks


def report_text(
    request: Request, quality: Quality, plans: Mapping[str, LayerPlan], peaks: Mapping[str, float]
) -> str:
    """The report as Markdown."""
    parts = [f"# Cost of {request.precision}\n", format_quality(quality), "\nAll outputs are finite on these images.\n"]
    if plans:
        counts = Counter(item.kind for item in plans.values())
        worst = sorted(plans.items(), key=lambda pair: -pair[1].error)[:5]
        parts.append("Products: " + ", ".join(f"{count} {kind}" for kind, count in sorted(counts.items())) + ".")
        parts.append("Largest relative errors: " + ", ".join(f"{key} {item.error:.4f}" for key, item in worst) + ".\n")
    margin = HALF_LARGEST / max(peaks.values())
    parts.append(
        f"Largest activations into the products of each block, float32, over {CALIBRATION_IMAGES} images "
        f"(float16 holds {HALF_LARGEST:.0f}, {margin:.0f} times the largest):\n"
    )
    parts += ["| block | largest |", "|---|---|", *(f"| {block} | {peak:.1f} |" for block, peak in peaks.items())]
    return "\n".join(parts) + "\n"
