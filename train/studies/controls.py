"""Controls beside every accuracy: f_global alone, s1..s3 alone, low-level probes, and the format-balanced protocol."""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image

from ...runtime.core.errors import ImageError
from ...runtime.core.progress import Progress
from ...runtime.images.decode import decode
from ...runtime.images.preprocess import resize_crop
from ..audit.lowlevel import blockiness, entropy, high_frequency_ratio, luminance, spectrum, total_variation
from ..audit.probe import transfer
from ..reporting import plots
from ..reporting.result import Plot, StudyResult
from .comparison import comparison, detector_variants, head_inputs, per_generator
from .experiment import Experiment

log = logging.getLogger("cinemae.train")

CLASSICAL = ("entropy", "HF ratio", "gradient TV")
PROBE_IMAGES = 10_000
"""About how many training images the linear probes read; each is decoded again, and more do not improve them."""
WIDTHS = {"jpeg": 79, "spectrum": 32, "classical": len(CLASSICAL)}


@dataclass(frozen=True)
class LowLevel:
    """Low-level features of cached images; NaN where the file is gone.

    Attributes:
        jpeg: float64 [n, 79], traces of JPEG's grid at native size.
        spectrum: float64 [n, 32], radial power spectrum at the network's input size.
        classical: float64 [n, 3], the statistics of `CLASSICAL` at the network's input size.
    """

    jpeg: np.ndarray
    spectrum: np.ndarray
    classical: np.ndarray


def low_level(experiment: Experiment, rows: np.ndarray, workers: int = 2) -> LowLevel:
    """Compute the features of cached rows from their files, in threads."""
    preprocess = experiment.cache.spec.preprocess

    def read(index: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        path = experiment.cache.rows[index].path
        try:
            image = decode(path)
        except ImageError as error:
            log.warning("skipped: %s", error)
            return tuple(np.full(width, np.nan) for width in WIDTHS.values())  # type: ignore[return-value]
        seen = luminance(Image.fromarray(resize_crop(image, preprocess)))
        classical = np.array([entropy(seen), high_frequency_ratio(seen), total_variation(seen)])
        return blockiness(luminance(image)), spectrum(seen), classical

    rows_read = []
    with (
        ThreadPoolExecutor(workers, thread_name_prefix="lowlevel") as pool,
        Progress("images", len(rows), quiet=experiment.quiet) as progress,
    ):
        for start in range(0, len(rows), 256):
            chunk = rows[start : start + 256]
            rows_read += list(pool.map(read, chunk))
            progress.advance(len(chunk))
    return LowLevel(*(np.stack(column) for column in zip(*rows_read, strict=True)))


def controls(experiment: Experiment, out: Path) -> StudyResult:
    """Fit every control on the training split, test it on every generator."""
    (inputs,) = head_inputs(experiment, experiment.method)
    step = max(1, len(experiment.rows[0]) // PROBE_IMAGES)
    rows = experiment.rows[0][::step]
    labels = experiment.cache.labels(rows)
    train, test = low_level(experiment, rows), low_level(experiment, experiment.eval_rows)
    variants = detector_variants(experiment, inputs) | {
        "spectrum probe": [transfer(train.spectrum, labels, test.spectrum)],
        "JPEG probe": [transfer(train.jpeg, labels, test.jpeg)],
        "entropy, HF ratio, gradient TV": [transfer(train.classical, labels, test.classical)],
    }
    table = comparison(experiment, variants, name="controls", title="Controls", what="detector")
    series = {name: [m.auc for m in per_generator(experiment, seeds[0]).values()] for name, seeds in variants.items()}
    plots.bars(out / "controls.svg", "AUC of the detector and of its controls", "AUC", experiment.generators, series)
    text = (
        "What simpler things reach with the same training images. The probes are linear: the spectrum probe sees 32 "
        "rings of the power spectrum at the network's input, the JPEG probe traces of the 8 x 8 grid at native size. "
        "The detector is worth what it adds to the best of them."
    )
    return StudyResult(text, (table,), (Plot("controls.svg", "AUC beside its controls"),))


def balanced(experiment: Experiment, out: Path) -> StudyResult:
    """Compare the same heads on the thinned samples as they are and format-balanced, both in training and in test."""
    tables = []
    for name, title, augment in (
        ("native", "Images as they are", "none"),
        ("balanced", "Format-balanced: both classes cut, resampled and re-encoded alike", "balanced"),
    ):
        one = replace(experiment.thinned, augment=augment)
        variants = detector_variants(one, *head_inputs(one, one.method))
        tables.append(comparison(one, variants, name=name, title=title, what="detector", note=one.budget.bounds()))
    text = (
        "How much of the accuracy is the file's and not the picture's: what falls from the first table to the second "
        "came from container, compression history or native size."
    )
    return StudyResult(text, tuple(tables))
