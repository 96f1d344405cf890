"""Robustness to corruptions at native size [Table 3, Fig. 6]: JPEG, noise, blur, downscaling, grayscale."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from ...runtime.core.manifest import HeadConfig
from ..data.transforms import CORRUPTIONS, LEVELS, Corruption
from ..evaluation.metrics import MACC, Metrics, metrics_by_source
from ..fitting.examples import read_examples
from ..fitting.head_training import train_head
from ..reporting import plots
from ..reporting.result import Plot, StudyResult
from ..reporting.tables import Cell, Table
from .comparison import ACCURACIES, F_GLOBAL_ALONE, LOGISTIC, LOGISTIC_HEAD, head_inputs
from .experiment import Experiment

CLEAN = "clean"
FIGURES = {**ACCURACIES, "auc": "mAUC"}
"""Means over generators: field of `Metrics` -> column."""
AXES = {"jpeg": "JPEG quality", "noise": "noise std (of 255)", "blur": "blur σ (pixels)", "downscale": "scale"}


DETECTORS: dict[str, tuple[HeadConfig | None, str]] = {
    "CINEMAE": (None, "robustness"), LOGISTIC_HEAD: (LOGISTIC, "robustness_logistic"),
    "f_global alone": (F_GLOBAL_ALONE, "robustness_f_global"),
}
"""Head, None for the experiment's own, and name of the table."""

TEXT = (
    "Corruptions are applied at native size to both classes, before the resize; the heads saw clean images only. The "
    "paper names JPEG's levels; those of the others are this project's. Noise is the same for the same file."
)


Conditions = dict[str, dict[str, dict[str, Metrics]]]
"""Figures by condition, detector and generator."""


def robustness(experiment: Experiment, out: Path) -> StudyResult:
    """Fit heads on clean images and test them on corrupted images.

    Every condition has its own cache, so that a run that was stopped continues where it was.
    """
    (inputs,) = head_inputs(experiment, experiment.method)
    detectors = {
        label: train_head(inputs.train, inputs.held, experiment.fit, head or experiment.head, quiet=True).head
        for label, (head, _) in DETECTORS.items()
    }
    samples = [sample for sample in experiment.thinned.samples if sample.split != experiment.fit.split]
    clean = replace(experiment, samples=samples, method=experiment.method.model_copy(update={"mask_sets": 1}))
    variants = {CLEAN: clean} | {
        name: replace(clean, augment=f"corruption:{name}") for name in CORRUPTIONS
    }
    conditions: Conditions = {}
    for condition, one in variants.items():
        (examples,) = read_examples(one.cache, np.arange(len(one.cache.rows)), experiment.method)
        scored = {label: examples.scores(examples.logits(head)) for label, head in detectors.items()}
        conditions[condition] = {label: metrics_by_source(scores) for label, scores in scored.items()}
    tables = tuple(_table(label, conditions, experiment) for label in detectors)
    return StudyResult(TEXT, tables, _plots(conditions, experiment.generators, out))


def _mean(figures: Mapping[str, Metrics], figure: str, generators: Sequence[str]) -> float:
    return float(np.mean([getattr(figures[name], figure) for name in generators]))


def _table(label: str, conditions: Conditions, experiment: Experiment) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for condition, detectors in conditions.items():
        figures = detectors[label]
        means = (_mean(figures, figure, experiment.generators) for figure in FIGURES)
        rows.append((condition, *means, *(figures[name].auc for name in experiment.generators)))
    limit = experiment.budget.limit
    note = f"Accuracies at P(AI) = 0.5. {MACC}; real, AI: the same for the images of one class." + (
        f" At most {limit} images of a class and generator." if limit else ""
    )
    columns = ("condition", *FIGURES.values(), *(f"AUC {g}" for g in experiment.generators))
    return Table(DETECTORS[label][1], f"Robustness: {label}", columns, tuple(rows), note=note)


def _plots(conditions: Conditions, generators: Sequence[str], out: Path) -> tuple[Plot, ...]:
    """One panel for each kind of corruption, and the accuracy lost in grayscale."""
    detectors = list(conditions[CLEAN])
    with plots.drawing(out / "robustness.svg", 10, 6) as figure:
        axes = figure.subplots(2, 2)
        for cell, kind in zip(axes.ravel(), AXES, strict=True):
            tested = [CLEAN, *(Corruption(kind, level).name for level in LEVELS[kind])]
            for number, label in enumerate(detectors):
                for key, style in (("accuracy_05", "-"), ("auc", "--")):
                    values = [_mean(conditions[name][label], key, generators) for name in tested]
                    (line,) = cell.plot(range(len(values)), values, style, marker="o", markersize=3)
                    line.set(color=f"C{number}", label=f"{label}: {FIGURES[key]}")
            cell.set_xticks(range(len(tested)), [name.rpartition("_")[2] for name in tested])
            cell.set(xlabel=AXES[kind], ylim=(0.3, 1.02))
            cell.axhline(0.5, color=plots.MUTED, linewidth=0.8, linestyle="--")
        figure.suptitle("Mean over generators under corruption")
        axes[0, 0].legend(fontsize=7, loc="lower left")
    title = "Accuracy lost in grayscale"
    clean, gray = conditions[CLEAN], conditions["grayscale"]
    series = {
        label: [clean[label][name].accuracy_05 - gray[label][name].accuracy_05 for name in generators]
        for label in detectors
    }
    plots.bars(out / "grayscale.svg", title, "accuracy, clean less grayscale", generators, series, chance=0.0)
    return Plot("robustness.svg", "mAcc and mAUC under corruption"), Plot("grayscale.svg", title)
