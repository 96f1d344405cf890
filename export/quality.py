"""Cost of a lower precision on real images: AUC, ECE, verdicts, logit and LCAS against the float32 engine."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..runtime.core.errors import EngineError, ImageError, UsageError
from ..runtime.core.manifest import Manifest, Preprocess
from ..runtime.core.progress import Progress
from ..runtime.engines.load import load_engine
from ..runtime.images.preprocess import load_image
from ..runtime.scoring.verdict import Decision, decide
from ..train.data.sample import Sample
from ..train.data.samples import read_samples
from ..train.evaluation.metrics import binary_metrics
from .parity import LCAS_FLOOR

BATCH = 8
RANGE_IMAGES = 64
"""Images that set INT8's activation ranges. More change the scales by less than the clipping search does."""


@dataclass(frozen=True)
class GeneratorCost:
    """Cost on the images of one generator.

    Attributes:
        generator: its name.
        images: how many.
        auc: of the float32 engine and of the other one; NaN where a class is missing.
        ece: expected calibration error, the same way.
        agreement: share of equal verdicts.
    """

    generator: str
    images: int
    auc: tuple[float, float]
    ece: tuple[float, float]
    agreement: float


@dataclass(frozen=True)
class Quality:
    """Cost on all images.

    Attributes:
        precision: of the engine measured.
        images: how many.
        agreement: share of equal verdicts.
        mean_logit: mean |difference| of the logit.
        max_logit: largest |difference| of the logit.
        lcas: mean |difference| of LCAS, relative to the image's largest |LCAS|: in flat images single patches divide
            by a sigma near zero.
        generators: one entry each.
    """

    precision: str
    images: int
    agreement: float
    mean_logit: float
    max_logit: float
    lcas: float
    generators: tuple[GeneratorCost, ...]


def spread(samples: Sequence[Sample], count: int) -> list[Sample]:
    """At most `count` samples, evenly over the (sorted) list."""
    if len(samples) <= count:
        return list(samples)
    return [samples[i] for i in np.linspace(0, len(samples) - 1, count).round().astype(int)]


def labelled(root: Path) -> list[Sample]:
    """The labelled images under `root`.

    Raises:
        UsageError: there are none.
    """
    samples = read_samples(root, split=None)
    if not samples:
        raise UsageError(f"{root}: no labelled images; give data that cinemae-train can read")
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
            image = load_image(sample.path, preprocess).pixels
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
            errors.append(difference / np.maximum(largest[:, 0], LCAS_FLOOR))
            used += batch
            logits.append(np.stack([expected.logit, found.logit]))
            progress.advance(len(batch))
    if not used:
        raise UsageError("none of the images for the report can be read")
    return _summary(low.manifest, used, np.concatenate(logits, axis=1), float(np.concatenate(errors).mean()))


def _summary(manifest: Manifest, samples: Sequence[Sample], logits: np.ndarray, lcas: float) -> Quality:
    decision = Decision.of(manifest.calibration)
    verdicts = np.array([[decide(float(logit), decision, unusual=False) for logit in row] for row in logits])
    equal = verdicts[0] == verdicts[1]
    labels = np.array([sample.label for sample in samples])
    names = np.array([sample.generator for sample in samples])
    costs = []
    for name in sorted(set(names)):
        chosen = names == name
        full, low = (binary_metrics(labels[chosen], row[chosen], manifest.calibration, resamples=0) for row in logits)
        same = float(equal[chosen].mean())
        costs.append(GeneratorCost(name, int(chosen.sum()), (full.auc, low.auc), (full.ece, low.ece), same))
    difference = np.abs(logits[1] - logits[0])
    return Quality(
        precision=manifest.precision, images=len(samples), agreement=float(equal.mean()),
        mean_logit=float(difference.mean()), max_logit=float(difference.max()), lcas=lcas, generators=tuple(costs),
    )
