"""Robustness to corruptions at native size [Table 3, Fig. 6]: JPEG, noise, blur, downscaling, grayscale."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from ...runtime.core.manifest import HeadConfig
from ..data.transforms import CORRUPTIONS, LEVELS, Corruption
from ..fitting.examples import read_examples
from ..reporting import plots
from ..reporting.estimate import Estimate
from ..reporting.result import Plot, StudyResult
from ..reporting.tables import Table
from .comparison import F_GLOBAL_ALONE, LOGISTIC, LOGISTIC_HEAD, comparison, fit_heads, head_inputs, seed_scores
from .experiment import Experiment

CLEAN = "clean"
AXES = {"jpeg": "JPEG quality", "noise": "noise std (of 255)", "blur": "blur σ (pixels)", "downscale": "scale"}
DETECTORS: dict[str, tuple[HeadConfig | None, str]] = {
    "CINEMAE": (None, "robustness"), LOGISTIC_HEAD: (LOGISTIC, "robustness_logistic"),
    "f_global alone": (F_GLOBAL_ALONE, "robustness_f_global"),
}
"""Head, None for the experiment's own, and name of the table."""

TEXT = (
    "Corruptions are applied at native size to both classes, before the resize; the heads saw clean images only. The "
    "paper names JPEG's levels; those of the others are this project's. Noise is the same for the same file. The plots "
    "show 95 % intervals."
)

Conditions = dict[str, list[np.ndarray]]
"""Logits of the test images for each seed, float32 [n], by condition."""


def robustness(experiment: Experiment, out: Path) -> StudyResult:
    """Fit heads on clean images and test them on corrupted images.

    Every condition has its own cache, so that a run that was stopped continues where it was.
    """
    (inputs,) = head_inputs(experiment, experiment.method)
    samples = [sample for sample in experiment.thinned.samples if sample.split != experiment.fit.split]
    clean = replace(experiment, samples=samples, method=experiment.method.model_copy(update={"mask_sets": 1}))
    variants = {CLEAN: clean} | {
        name: replace(clean, augment=f"corruption:{name}") for name in CORRUPTIONS
    }
    heads = {label: fit_heads(experiment, inputs, head) for label, (head, _) in DETECTORS.items()}
    found: dict[str, Conditions] = {label: {} for label in DETECTORS}
    for condition, one in variants.items():
        (examples,) = read_examples(one.cache, one.eval_rows, experiment.method)
        for label, own in heads.items():
            found[label][condition] = [examples.logits(head) for head in own]
    note = f"{len(inputs.train):,} training images, {len(clean.eval_rows):,} test images. {clean.budget.bounds()}"
    tables: list[Table] = []
    for label, (_, name) in DETECTORS.items():
        title = f"Robustness: {label}"
        tables += comparison(clean, found[label], name=name, title=title, what="condition", note=note)
    return StudyResult(TEXT, tuple(tables), _plots(clean, found, out))


def _plots(experiment: Experiment, found: Mapping[str, Conditions], out: Path) -> tuple[Plot, ...]:
    """One panel for each kind of corruption, and the accuracy lost in grayscale."""
    scored, averaged = {label: seed_scores(experiment, own) for label, own in found.items()}, experiment.averaged
    with plots.drawing(out / "robustness.svg", 10, 6) as figure:
        axes = figure.subplots(2, 2)
        for cell, kind in zip(axes.ravel(), AXES, strict=True):
            tested = [CLEAN, *(Corruption(kind, level).name for level in LEVELS[kind])]
            for number, (label, own) in enumerate(scored.items()):
                for key, style, values in (
                    ("mAcc", "-", [own[name].accuracy(averaged) for name in tested]),
                    ("mAUC", "--", [own[name].auc(averaged) for name in tested]),
                ):
                    x = np.arange(len(values)) + 0.06 * (number - 1)
                    cell.errorbar(x, values, plots.errors(values), linestyle=style, marker="o", markersize=3,
                                  elinewidth=0.8, color=f"C{number}", label=f"{label}: {key}")
            cell.set_xticks(range(len(tested)), [name.rpartition("_")[2] for name in tested])
            cell.set(xlabel=AXES[kind], ylim=(0.3, 1.02))
            cell.axhline(0.5, color=plots.MUTED, linewidth=0.8, linestyle="--")
        figure.suptitle("Mean over generators under corruption, with 95 % intervals")
        axes[0, 0].legend(fontsize=7, loc="lower left")
    title, names = "Accuracy lost in grayscale", experiment.generators
    series: dict[str, Sequence[Estimate]] = {
        label: [own[CLEAN].gain(own["grayscale"], [name]) for name in names]
        for label, own in scored.items()
    }
    plots.bars(out / "grayscale.svg", title, "accuracy, clean less grayscale", names, series, chance=0.0)
    return Plot("robustness.svg", "mAcc and mAUC under corruption"), Plot("grayscale.svg", title)
