"""Cost of a lower precision on real images, against the float32 engine, and its report NAME.report.md.

The report also says how each product is computed and how far activations are from float16's limit.
"""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

from ..runtime.core.errors import EngineError, ImageError, UsageError
from ..runtime.core.files import write_text
from ..runtime.core.manifest import Manifest, Preprocess
from ..runtime.core.progress import Progress
from ..runtime.engines.load import load_engine
from ..runtime.images.preprocess import load_image
from ..runtime.scoring.verdict import Decision
from ..train.data.sample import Sample
from ..train.data.samples import read_samples
from ..train.evaluation.metrics import binary_metrics
from ..train.fitting.checkpoint import LoadedCheckpoint
from ..train.reporting.tables import Cell, Table
from .fused import export_fused
from .graph.packed import PackedDetector
from .int8.ranges import activation_ranges
from .int8.recipe import Treatment
from .parity import FLOOR

BATCH = 8
HALF_LARGEST = 65504.0
"""Largest finite float16."""

RANGE_IMAGES = 64
"""Images that set INT8's activation ranges. More change the scales by less than the clipping search does."""


@dataclass(frozen=True)
class Quality:
    """Cost on all images, and on those of each generator.

    Attributes:
        precision: of the engine measured.
        images: how many.
        agreement: share of equal verdicts.
        mean_logit: mean |difference| of the logit.
        max_logit: largest |difference| of the logit.
        lcas: mean |difference| of LCAS, relative to the image's largest |LCAS|: in flat images single patches divide
            by a sigma near zero.
        generators: columns of the table by generator: images, AUC and expected calibration error of the float32 engine
            and of the other one (NaN where a class is missing, the error also under 1,000 images), share of equal
            verdicts.
    """

    precision: str
    images: int
    agreement: float
    mean_logit: float
    max_logit: float
    lcas: float
    generators: dict[str, dict[str, float]]


def spread(samples: Sequence[Sample], count: int) -> list[Sample]:
    """At most `count` samples, evenly over the (sorted) list."""
    if len(samples) <= count:
        return list(samples)
    return [samples[i] for i in np.linspace(0, len(samples) - 1, count).round().astype(int)]


def labelled(root: str) -> list[Sample]:
    """The labelled images of a data set, wherever it lies.

    Raises:
        UsageError: there are none.
    """
    samples = read_samples(root)
    if not samples:
        raise UsageError(f"{root}: no labelled images; give data that cinemae train can read")
    return samples


def of_split(samples: Sequence[Sample], train: bool, count: int) -> list[Sample]:
    """At most `count` samples (0 is all), of the training split or of the others, or of any where there are none."""
    chosen = [item for item in samples if (item.split == "train") == train] or samples
    return spread(chosen, count or len(chosen))


def load_batches(samples: Sequence[Sample], preprocess: Preprocess) -> Iterator[tuple[list[Sample], np.ndarray]]:
    """The readable samples in batches: (samples, uint8 [B, S, S, 3])."""
    batch: list[Sample] = []
    pixels: list[np.ndarray] = []
    for sample in samples:
        try:
            image = load_image(sample.read(), preprocess, name=sample.path).pixels
        except ImageError:
            continue
        batch.append(sample)
        pixels.append(image)
        if len(batch) == BATCH:
            yield batch, np.stack(pixels)
            batch, pixels = [], []
    if batch:
        yield batch, np.stack(pixels)


def range_batches(samples: Sequence[Sample], preprocess: Preprocess, train: bool) -> list[np.ndarray]:
    """Images for activation ranges, uint8 [B, S, S, 3] each, evenly from the samples that `of_split` takes."""
    return [pixels for _, pixels in load_batches(of_split(samples, train, RANGE_IMAGES), preprocess)]


def measure(engine: Path, reference: Path, samples: Sequence[Sample]) -> Quality:
    """Run both engines over `samples` on the CPU.

    Raises:
        EngineError: `engine` gives a logit, statistic or LCAS that is not finite.
    """
    used: list[Sample] = []
    logits: list[np.ndarray] = []
    errors: list[np.ndarray] = []
    with (
        load_engine(engine, device="cpu") as low, load_engine(reference, device="cpu") as full,
        Progress("images", len(samples)) as progress,
    ):
        for batch, pixels in load_batches(samples, low.manifest.preprocess):
            found, expected = low.infer(pixels), full.infer(pixels)
            same_holes = np.array_equal(np.isnan(found.lcas), np.isnan(expected.lcas))
            values = np.concatenate([found.logit, found.stats.ravel(), found.lcas[~np.isnan(expected.lcas)]])
            if not same_holes or not np.isfinite(values).all():
                raise EngineError(
                    f"{low.path}: an output is not finite on a batch that holds {batch[0].path}; "
                    f"export it without --{low.manifest.precision}"
                )
            largest = np.nanmax(np.abs(expected.lcas), axis=1, keepdims=True)
            difference = np.nanmean(np.abs(found.lcas - expected.lcas), axis=1)
            errors.append(difference / np.maximum(largest[:, 0], FLOOR))
            used += batch
            logits.append(np.stack([expected.logit, found.logit]))
            progress.advance(len(batch))
    if not used:
        raise UsageError("none of the images for the report can be read")
    return _summary(low.manifest, used, np.concatenate(logits, axis=1), float(np.concatenate(errors).mean()))


def _summary(manifest: Manifest, samples: Sequence[Sample], logits: np.ndarray, lcas: float) -> Quality:
    decision = Decision.of(manifest.calibration)
    verdicts = np.array([[decision.verdict(float(logit)) for logit in row] for row in logits])
    equal = verdicts[0] == verdicts[1]
    labels = np.array([sample.label for sample in samples])
    names = np.array([sample.generator for sample in samples])
    costs = {}
    for name in sorted(set(names)):
        chosen = names == name
        full, low = (binary_metrics(labels[chosen], row[chosen], manifest.calibration) for row in logits)
        costs[str(name)] = {
            "images": int(chosen.sum()), "auc_fp32": full.auc, "auc": low.auc, "ece_fp32": full.ece, "ece": low.ece,
            "agreement": float(equal[chosen].mean()),
        }
    difference = np.abs(logits[1] - logits[0])
    return Quality(
        precision=manifest.precision, images=len(samples), agreement=float(equal.mean()),
        mean_logit=float(difference.mean()), max_logit=float(difference.max()), lcas=lcas, generators=costs,
    )


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
    rows: list[tuple[Cell, ...]] = []
    for key, cost in quality.generators.items():
        *figures, agreement = cost.values()
        rows.append((key, *figures, f"{agreement:.2%}"))
    note = (
        f"{quality.images} images: {quality.agreement:.2%} of the verdicts are those of fp32; the logit differs by "
        f"{quality.mean_logit:.4f} on average and {quality.max_logit:.4f} at most, LCAS by {quality.lcas:.2%} of an "
        "image's largest on average."
    )
    return Table("quality", f"{name} beside fp32", columns, tuple(rows), note, digits=4)


def peaks_table(peaks: Mapping[str, float]) -> Table:
    """The largest activation of each block beside float16's limit."""
    note = (
        f"Into the products of each block, in float32, over {RANGE_IMAGES} images. float16 holds {HALF_LARGEST:.0f}, "
        f"{HALF_LARGEST / max(peaks.values()):.0f} times the largest."
    )
    return Table("activations", "Largest activations", ("block", "largest"), tuple(peaks.items()), note, digits=1)
