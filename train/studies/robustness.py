"""Robustness to corruptions at native size [Table 3, Fig. 6]: JPEG, noise, blur, downscaling, grayscale."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from ...runtime.core.manifest import HeadConfig
from ..data.transforms import CORRUPTIONS, LEVELS, Corruption
from ..evaluation.metrics import MACC
from ..features.cache import FeatureCache
from ..fitting.head_training import logits_of, train_head
from ..model.head import Head
from ..reporting import plots
from ..reporting.result import Plot, StudyResult
from ..reporting.tables import Cell, Table
from .comparison import Figures, figures, head_inputs, read_features
from .experiment import Experiment
from .study_data import StudyData

CLEAN = "clean"
FIGURES = {"accuracy": "mAcc", "real": "real", "fake": "AI", "auc": "mAUC"}
"""Means over generators: field of `Figures` -> column."""
AXES = {"jpeg": "JPEG quality", "noise": "noise std (of 255)", "blur": "blur σ (pixels)", "downscale": "scale"}


TEXT = (
    "Corruptions are applied at native size to both classes, before the resize; the heads saw clean images only. The "
    "paper names JPEG's levels; those of the others are this project's. Noise is the same for the same file."
)


@dataclass(frozen=True)
class ConditionScores:
    """Scores of the test images under one condition.

    Attributes:
        labels: int64 [n], 1 AI-generated, 0 real.
        generators: str [n].
        logits: float32 [n] for each detector.
    """

    labels: np.ndarray
    generators: np.ndarray
    logits: Mapping[str, np.ndarray]

    def of(self, detector: str, generator: str) -> Figures:
        """Figures of one generator."""
        own = self.generators == generator
        return figures(self.labels[own], self.logits[detector][own])


def robustness(
    data: StudyData, experiment: Experiment, out: Path, names: Sequence[str] = tuple(CORRUPTIONS)
) -> StudyResult:
    """Fit heads on clean images and test them on corrupted ones.

    Every condition has its own cache, so that a run that was stopped continues where it was.

    Args:
        data: its thinned test samples are corrupted.
        experiment: whose images the heads are fitted on.
        out: folder of the study.
        names: names of the corruptions.
    """
    inputs = head_inputs(experiment, {"method": experiment.method})["method"]
    detectors = {
        label: train_head(inputs.train, inputs.held, experiment.fit, head, quiet=True).head
        for label, head in (("CINEMAE", experiment.head), ("f_global alone", HeadConfig(statistics=())))
    }
    samples = data.test_samples()
    deployed = experiment.method.model_copy(update={"mask_sets": 1})
    conditions = {CLEAN: _score(experiment, data.fill(samples, method=deployed), detectors)}
    for name in names:
        cache = data.fill(samples, method=deployed, augment=f"corruption:{name}")
        conditions[name] = _score(experiment, cache, detectors)
    tables = tuple(_table(label, conditions, experiment.generators, data.limit) for label in detectors)
    pictures = _plots(conditions, experiment.generators, list(detectors), out)
    return StudyResult("robustness", "Robustness", TEXT, tables, pictures)


def _score(experiment: Experiment, cache: FeatureCache, detectors: Mapping[str, Head]) -> ConditionScores:
    rows = np.arange(len(cache.rows), dtype=np.int64)
    f_global, (stats,) = read_features(cache, rows, [experiment.method])
    tensors = torch.from_numpy(f_global), torch.from_numpy(stats[:, 0])
    logits = {label: logits_of(head, *tensors).numpy() for label, head in detectors.items()}
    return ConditionScores(cache.labels(rows), np.array([row.generator for row in cache.rows]), logits)


def _table(label: str, conditions: Mapping[str, ConditionScores], generators: Sequence[str], limit: int) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for condition, scored in conditions.items():
        each = {name: scored.of(label, name) for name in generators}
        means = [float(np.mean([getattr(f, key) for f in each.values()])) for key in FIGURES]
        rows.append((condition, *means, *(f.auc for f in each.values())))
    note = f"Accuracies at P(AI) = 0.5. {MACC}; real, AI: the same for the images of one class." + (
        f" At most {limit} images of a class and generator." if limit else ""
    )
    name = "robustness" if label == "CINEMAE" else "robustness_f_global"
    columns = ("condition", *FIGURES.values(), *(f"AUC {g}" for g in generators))
    return Table(name, f"Robustness: {label}", columns, tuple(rows), note)


def _plots(
    conditions: Mapping[str, ConditionScores], generators: Sequence[str], detectors: Sequence[str], out: Path
) -> tuple[Plot, ...]:
    """One panel for each kind of corruption, and the accuracy lost in grayscale."""

    def mean(condition: str, label: str, key: str) -> float:
        return float(np.mean([getattr(conditions[condition].of(label, g), key) for g in generators]))

    with plots.drawing(out / "robustness.svg", 10, 6) as figure:
        axes = figure.subplots(2, 2)
        for cell, kind in zip(axes.ravel(), AXES, strict=True):
            tested = [name for level in LEVELS[kind] if (name := Corruption(kind, level).name) in conditions]
            ticks = [CLEAN, *(name.split("_")[1] for name in tested)]
            for colour, label in enumerate(detectors):
                for key, style in (("accuracy", "-"), ("auc", "--")):
                    values = [mean(condition, label, key) for condition in (CLEAN, *tested)]
                    (line,) = cell.plot(range(len(values)), values, style, marker="o", markersize=3)
                    line.set(color=f"C{colour}", label=f"{label}: {FIGURES[key]}")
            cell.set_xticks(range(len(ticks)), ticks)
            cell.set(xlabel=AXES[kind], ylim=(0.3, 1.02))
            cell.axhline(0.5, color=plots.MUTED, linewidth=0.8, linestyle="--")
        figure.suptitle("Mean over generators under corruption")
        axes[0, 0].legend(fontsize=7, loc="lower left")
    shown = [Plot("robustness.svg", "mAcc and mAUC under corruption")]
    if "grayscale" in conditions:
        series = {
            label: [
                conditions[CLEAN].of(label, g).accuracy - conditions["grayscale"].of(label, g).accuracy
                for g in generators
            ]
            for label in detectors
        }
        title = "Accuracy lost in grayscale"
        plots.bars(out / "grayscale.svg", title, "accuracy, clean less grayscale", generators, series, chance=0.0)
        shown.append(Plot("grayscale.svg", title))
    return tuple(shown)
