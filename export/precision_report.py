"""The report NAME.report.md: cost of a precision on real images, and how far activations are from float16's limit."""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch

from ..runtime.core.files import write_text
from ..train.data.sample import Sample
from ..train.fitting.checkpoint import LoadedCheckpoint
from ..train.reporting.tables import Table
from .fused import export_fused
from .graph.packed import PackedDetector
from .int8.ranges import activation_ranges
from .int8.recipe import Treatment
from .quality import RANGE_IMAGES, Quality, measure, of_split, range_batches

HALF_LARGEST = 65504.0
"""Largest finite float16."""


def report_path(engine: Path) -> Path:
    """`NAME.onnx` -> `NAME.report.md`."""
    return engine.with_suffix(".report.md")


def export_report(
    engine: Path, recipe: Mapping[str, Treatment], loaded: LoadedCheckpoint, samples: Sequence[Sample], most: int
) -> str:
    """Measure an engine against a float32 one on at most `most` (0 is all) held-out `samples`, and write the report.

    The same goes as JSON beside the report.

    Returns:
        The figures by generator, for the terminal; the report holds these and more.
    """
    with tempfile.TemporaryDirectory() as folder:
        reference = Path(folder) / "fp32.onnx"
        export_fused(loaded.detector, loaded.manifest, reference)
        quality = measure(engine, reference, of_split(samples, train=False, count=most))
    few = range_batches(samples, loaded.manifest.preprocess, train=False)
    peaks = block_peaks(PackedDetector(loaded.detector), few)
    data = {"quality": asdict(quality), "recipe": {k: asdict(v) for k, v in recipe.items()}, "peaks": peaks}
    path = report_path(engine)
    write_text(path, report_text(quality, recipe, peaks))
    write_text(path.with_suffix(".json"), json.dumps(data, indent=1))
    return quality_table(quality).terminal()


def block_peaks(packed: PackedDetector, batches: Sequence[np.ndarray]) -> dict[str, float]:
    """Largest |input| of the matrix products of each block over the images, in float32."""
    peaks: dict[str, float] = {}
    for name, seen in activation_ranges(packed, batches).items():
        block = name.rpartition(".")[0] if ".blocks." in name else name
        peak = float(torch.maximum(seen.high.abs(), seen.low.abs()).max())
        peaks[block] = max(peaks.get(block, 0.0), peak)
    return peaks


def report_text(quality: Quality, recipe: Mapping[str, Treatment], peaks: Mapping[str, float]) -> str:
    """The report as Markdown."""
    figures = quality_table(quality).markdown()
    parts = [f"# Cost of {quality.precision}\n", figures, "All outputs are finite on these images.\n"]
    if recipe:
        counts = Counter(item.kind for item in recipe.values())
        worst = sorted(recipe.items(), key=lambda pair: -pair[1].error)[:5]
        parts.append("Products: " + ", ".join(f"{count} {kind}" for kind, count in sorted(counts.items())) + ".")
        parts.append("Largest relative errors: " + ", ".join(f"{key} {item.error:.4f}" for key, item in worst) + ".\n")
    parts.append(peaks_table(peaks).markdown())
    return "\n".join(parts)


def quality_table(quality: Quality) -> Table:
    """The figures of each generator in both precisions, and the totals as a note."""
    name = quality.precision
    columns = ("generator", "images", "AUC fp32", f"AUC {name}", "ECE fp32", f"ECE {name}", "same verdict")
    rows = tuple((c.generator, c.images, *c.auc, *c.ece, f"{c.agreement:.2%}") for c in quality.generators)
    note = (
        f"{quality.images} images: {quality.agreement:.2%} of the verdicts are those of fp32; the logit differs by "
        f"{quality.mean_logit:.4f} on average and {quality.max_logit:.4f} at most, LCAS by {quality.lcas:.2%} of an "
        "image's largest on average."
    )
    return Table("quality", f"{name} beside fp32", columns, rows, note, digits=4)


def peaks_table(peaks: Mapping[str, float]) -> Table:
    """The largest activation of each block beside float16's limit."""
    note = (
        f"Into the products of each block, in float32, over {RANGE_IMAGES} images. float16 holds {HALF_LARGEST:.0f}, "
        f"{HALF_LARGEST / max(peaks.values()):.0f} times the largest."
    )
    return Table("activations", "Largest activations", ("block", "largest"), tuple(peaks.items()), note, digits=1)
