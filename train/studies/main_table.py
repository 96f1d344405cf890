"""The main result [Tables 1, 2, 4]: one checkpoint fitted, calibrated, evaluated; and the format-balanced protocol."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from ...runtime.core.manifest import HeadConfig
from ..audit.probe import transfer
from ..evaluation.evaluate import Evaluation, evaluate, score
from ..evaluation.metrics import MACC
from ..evaluation.report import table, write_report
from ..fitting.checkpoint import load_head
from ..fitting.fit import fit
from ..reporting.result import Plot, StudyResult
from ..reporting.tables import Cell, Table
from .comparison import comparison, fit_scores, head_inputs
from .experiment import Experiment
from .study_data import StudyData

CHECKPOINT = "checkpoint"
EVALUATION = f"{CHECKPOINT}/eval"


def main_table(experiment: Experiment, out: Path) -> StudyResult:
    """Fit a checkpoint in `out`/checkpoint and report its figures on every generator."""
    fit(experiment.cache, out / CHECKPOINT, experiment.method, experiment.head, experiment.fit, quiet=experiment.quiet)
    loaded = load_head(out / CHECKPOINT)
    scores = score(loaded, experiment.cache, experiment.eval_rows)
    evaluation = evaluate(loaded, scores)
    write_report(evaluation, scores, out / EVALUATION)
    main = replace(table(evaluation), name="main", title="All figures per generator")
    text = f"Trained on {', '.join(loaded.manifest.training.generators)}; {loaded.manifest.training.note}."
    pictures = (
        Plot(f"{EVALUATION}/roc.svg", "ROC"),
        Plot(f"{EVALUATION}/reliability.svg", "Reliability of the calibrated probability"),
    )
    return StudyResult("main", "Main result", text, (accuracy_table(evaluation), main), pictures)


def accuracy_table(evaluation: Evaluation) -> Table:
    """Plain accuracy at the paper's threshold and AUC, by generator and in the mean [Tables 1, 2]."""
    rows: list[tuple[Cell, ...]] = []
    for group in evaluation.groups:
        m = group.metrics
        rows.append((f"{group.generator}{' *' if group.seen else ''}", m.n_ai, m.n_real, m.accuracy_05, m.auc))
    rows.append(("mean", None, None, evaluation.mean["accuracy_05"], evaluation.mean["auc"]))
    note = f"Accuracy at P(AI) = 0.5. {MACC}. * the head was trained on this generator."
    columns = ("generator", "AI images", "real images", "accuracy", "AUC")
    return Table("accuracy", "Accuracy and AUC per generator", columns, tuple(rows), note)


def balanced(data: StudyData, out: Path) -> StudyResult:
    """Compare the same heads on the thinned samples as they are and format-balanced, both in training and in test."""
    samples = data.train_samples() + data.test_samples()
    tables = []
    for name, title, augment in (
        ("native", "Images as they are", "none"),
        ("balanced", "Format-balanced: both classes cut, resampled and re-encoded alike", "balanced"),
    ):
        experiment = data.experiment(data.fill(samples, augment=augment))
        inputs = head_inputs(experiment, {"method": experiment.method})["method"]
        stats = [part.stats[:, 0].double().numpy() for part in (inputs.train, inputs.test)]
        variants: dict[str, list[np.ndarray]] = {
            "CINEMAE": fit_scores(experiment, inputs, experiment.head),
            "f_global alone": fit_scores(experiment, inputs, HeadConfig(statistics=())),
            "s1..s3 alone (logistic regression)": [transfer(stats[0], inputs.train.labels.numpy(), stats[1])],
        }
        tables.append(comparison(name, title, "detector", experiment, variants, data.bounds()))
    text = (
        "How much of the accuracy is the file's and not the picture's: what falls from the first table to the second "
        "came from container, compression history or native size."
    )
    return StudyResult("balanced", "Format-balanced protocol", text, tuple(tables))
