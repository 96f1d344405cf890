"""Controls beside every accuracy: f_global alone, s1..s3 alone, low-level probes, and the format-balanced protocol."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
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
from ..reporting.tables import Table
from .comparison import comparison, detector_variants, encoder_variants, head_inputs, seed_scores, sizes
from .experiment import Experiment

CLASSICAL = ("entropy", "HF ratio", "gradient TV")
PROBES = {"spectrum probe": 32, "JPEG probe": 79, ", ".join(CLASSICAL): len(CLASSICAL)}
"""What the linear probes read, with its width: the radial power spectrum at the network's input size, traces of JPEG's
grid at native size (`lowlevel`), and the statistics of `CLASSICAL` at the network's input size."""
PROBE_IMAGES = 10_000
"""About how many training images the linear probes read; each is decoded again, and more do not improve them."""


def low_level(experiment: Experiment, rows: np.ndarray) -> dict[str, np.ndarray]:
    """Features of cached rows by the names of `PROBES`, float64 [n, width]; NaN where a file is gone."""
    preprocess = experiment.cache.spec.preprocess

    def read(index: int) -> tuple[np.ndarray, ...] | ImageError:
        row = experiment.cache.rows[index]
        try:
            image = decode(row.read(), name=row.path)
        except ImageError as error:
            return error
        seen = luminance(Image.fromarray(resize_crop(image, preprocess)))
        classical = np.array([entropy(seen), high_frequency_ratio(seen), total_variation(seen)])
        return spectrum(seen), blockiness(luminance(image)), classical

    with ThreadPoolExecutor(experiment.workers, thread_name_prefix="lowlevel") as pool:
        read_rows = []
        with Progress("images", len(rows), quiet=experiment.quiet) as progress:
            for index, features in zip(rows, pool.map(read, rows), strict=True):
                if isinstance(features, ImageError):
                    experiment.skip(experiment.cache.rows[index].path, features)
                    features = tuple(np.full(width, np.nan) for width in PROBES.values())
                read_rows.append(features)
                progress.advance()
    return {name: np.stack(column) for name, column in zip(PROBES, zip(*read_rows, strict=True), strict=True)}


def controls(experiment: Experiment, out: Path) -> StudyResult:
    """Fit every control on the training split, test it on every generator."""
    (inputs,) = head_inputs(experiment, experiment.method)
    step = max(1, len(experiment.rows[0]) // PROBE_IMAGES)
    rows = experiment.rows[0][::step]
    labels = experiment.cache.labels(rows)
    train, test = low_level(experiment, rows), low_level(experiment, experiment.eval_rows)
    probes = {name: [transfer(train[name], labels, test[name])] for name in PROBES}
    variants = detector_variants(experiment, inputs) | encoder_variants(experiment) | probes
    tables = comparison(experiment, variants, name="controls", title="Controls", what="detector")
    scored = seed_scores(experiment, variants)
    series = {name: [one.auc([generator]) for generator in experiment.generators] for name, one in scored.items()}
    plots.bars(out / "controls.svg", "AUC of the detector and of its controls", "AUC", experiment.generators, series)
    text = (
        "What simpler things reach with the same training images. The probes are linear: the spectrum probe sees 32 "
        "rings of the power spectrum at the network's input, the JPEG probe traces of the 8 x 8 grid at native size. "
        "The detector is worth what it adds to the best of them."
    )
    return StudyResult(text, tables, (Plot("controls.svg", "AUC beside its controls, with 95 % intervals"),))


def balanced_protocol(experiment: Experiment, out: Path) -> StudyResult:
    """Compare the same heads on the thinned samples as they are and format-balanced, both in training and in test."""
    tables: list[Table] = []
    for name, title, augment in (
        ("native", "Images as they are", "none"),
        ("balanced", "Format-balanced: both classes cut, resampled and re-encoded alike", "balanced"),
    ):
        one = replace(experiment.thinned, augment=augment)
        variants = detector_variants(one, *head_inputs(one, one.method))
        note = f"{sizes(one)} {one.budget.bounds()}"
        tables += comparison(one, variants, name=name, title=title, what="detector", note=note)
    text = (
        "How much of the accuracy is the file's and not the picture's: what falls from the first table to the second "
        "came from container, compression history or native size."
    )
    return StudyResult(text, tuple(tables))
