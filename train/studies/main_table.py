"""The main result [Tables 1, 2, 4]: one checkpoint fitted, calibrated and evaluated."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from ..evaluation.eval_files import eval_table, write_eval
from ..evaluation.evaluate import Evaluation, evaluate, score
from ..evaluation.metrics import MACC
from ..fitting.checkpoint import load_head
from ..fitting.checkpoint_folder import EVAL_FOLDER
from ..fitting.fit import fit
from ..reporting.result import Plot, StudyResult
from ..reporting.tables import Cell, Table
from .experiment import Experiment

CHECKPOINT = "checkpoint"
EVALUATION = f"{CHECKPOINT}/{EVAL_FOLDER}"


def main_table(experiment: Experiment, out: Path) -> StudyResult:
    """Fit a checkpoint in `out`/checkpoint and report its figures on every generator."""
    fit(experiment.cache, out / CHECKPOINT, experiment.method, experiment.head, experiment.fit, quiet=experiment.quiet)
    loaded = load_head(out / CHECKPOINT)
    scores = score(loaded, experiment.cache, experiment.eval_rows)
    evaluation = evaluate(loaded, scores)
    write_eval(evaluation, scores, out / EVALUATION)
    main = replace(eval_table(evaluation), name="main", title="All figures per generator")
    text = f"Trained on {', '.join(loaded.manifest.training.generators)}; {loaded.manifest.training.note}."
    pictures = (
        Plot(f"{EVALUATION}/roc.svg", "ROC"),
        Plot(f"{EVALUATION}/reliability.svg", "Reliability of the calibrated probability"),
    )
    return StudyResult(text, (accuracy_table(evaluation), main), pictures)


def accuracy_table(evaluation: Evaluation) -> Table:
    """Plain accuracy at the paper's threshold and AUC, by generator and in the mean [Tables 1, 2]."""
    rows: list[tuple[Cell, ...]] = []
    for group in evaluation.groups:
        m = group.metrics
        rows.append((f"{group.generator}{' *' if group.seen else ''}", m.n_ai, m.n_real, m.accuracy_05, m.auc))
    rows.append(("mean", None, None, evaluation.mean["accuracy_05"], evaluation.mean["auc"]))
    note = f"Accuracy at P(AI) = 0.5. {MACC}. * the head was trained on this generator."
    columns = ("generator", "AI images", "real images", "accuracy", "AUC")
    return Table("accuracy", "Accuracy and AUC per generator", columns, tuple(rows), note=note)
