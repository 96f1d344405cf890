"""Heads trained on one generator and on all of them [Table 4]: the upper and the lower half of the paper's table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from ...runtime.core.errors import UsageError
from ..evaluation.metrics import MACC
from ..reporting.result import StudyResult
from ..reporting.tables import Cell, Table
from .choices import training_generators
from .comparison import Figures, fit_scores, head_inputs, seed_means
from .study_data import StudyData


def training_sets(data: StudyData, out: Path) -> StudyResult:
    """Fit heads on the chosen generators and on all with a training split; test both on every generator.

    Raises:
        UsageError: no generator has a training split besides those chosen.
    """
    chosen, every = data.fit.generators, training_generators(data.samples)
    if set(chosen) == set(every):
        raise UsageError(
            f"{', '.join(every)}: no other generator has a training split, so that there is no larger training set to "
            "compare with; give all of GenImage's train folders as --data, and choose one with --train-on"
        )
    rows: list[tuple[Cell, ...]] = []
    for label, generators in ((", ".join(chosen), chosen), ("all generators", every)):
        part = replace(data, fit=replace(data.fit, generators=generators))
        experiment = part.experiment(part.fill(part.train_samples() + part.test_samples()))
        inputs = head_inputs(experiment, {"method": experiment.method})["method"]
        rows += _rows(label, seed_means(experiment, fit_scores(experiment, inputs, experiment.head)))
    title = "Training sets"
    note = f"Table 4. Accuracies at P(AI) = 0.5; accuracy is the share of all images that are right. {data.bounds()}"
    columns = ("trained on", "tested on", "accuracy", "AI", "real", "AUC")
    table = Table("training_sets", title, columns, tuple(rows), f"{note} {MACC}.")
    text = (
        f"The same head trained on {', '.join(chosen)} and on all generators with a training split "
        f"({', '.join(every)}); the paper tests both on Chameleon (Table 4, upper and lower half)."
    )
    return StudyResult("training", title, text, (table,))


def _rows(label: str, figures: Mapping[str, Figures]) -> list[tuple[Cell, ...]]:
    """One row for each generator, and their means."""
    values = {name: (f.accuracy, f.fake, f.real, f.auc) for name, f in figures.items()}
    means = tuple(sum(column) / len(values) for column in zip(*values.values(), strict=True))
    return [(label, name, *own) for name, own in {**values, "mean (mAcc)": means}.items()]
