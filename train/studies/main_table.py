"""The main result [Tables 1, 2, 4]: one checkpoint fitted, calibrated and evaluated."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from ..evaluation.eval_files import eval_table, write_eval
from ..evaluation.evaluate import evaluate, score
from ..evaluation.metrics import MACC
from ..fitting.checkpoint import load_head
from ..fitting.checkpoint_folder import EVAL_FOLDER
from ..fitting.fit import fit
from ..reporting.published import COMMON, MEAN, REPORTED, common_generators
from ..reporting.result import Plot, StudyResult
from ..reporting.tables import Cell, Table
from .comparison import fit_scores, head_inputs, seed_scores
from .estimates import INTERVALS, SeedScores
from .experiment import Experiment

CHECKPOINT = "checkpoint"
EVALUATION = f"{CHECKPOINT}/{EVAL_FOLDER}"
WHY = (
    "mAcc of CINEMAE is the same in the tables of accuracy, controls, statistics, λ, pixel space and fusion: the mean "
    "of all seeds on all images. It differs where fewer images are trained or tested on (format-balanced, robustness, "
    "masks, backbones, freezing: the notes say how many), where the table says so (freezing: epochs; masks: one mask "
    "set), and in the table of all figures, which is of the checkpoint, of one seed."
)
"""Why figures of one detector differ between tables."""


def main_table(experiment: Experiment, out: Path) -> StudyResult:
    """Fit a checkpoint in `out`/checkpoint and report its figures on every generator."""
    fit(experiment.cache, out / CHECKPOINT, experiment.method, experiment.head, experiment.fit, quiet=experiment.quiet)
    loaded = load_head(out / CHECKPOINT)
    scores = score(loaded, experiment.cache, experiment.eval_rows)
    evaluation = evaluate(loaded, scores)
    (inputs,) = head_inputs(experiment, experiment.method)
    found = seed_scores(experiment, {MEAN: fit_scores(experiment, inputs)})[MEAN]
    write_eval(evaluation, scores, out / EVALUATION)
    title = f"All figures per generator, seed {experiment.fit.seed}"
    if len(experiment.averaged) < len(experiment.generators):
        title += f"; means without {', '.join(experiment.apart)}, only reported"
        apart = evaluate(loaded, scores.take(np.isin(scores.sources, experiment.averaged)))
        evaluation = replace(evaluation, mean=apart.mean, mean_unseen=apart.mean_unseen)
    main = replace(eval_table(evaluation), name="main", title=title)
    text = f"Trained on {', '.join(loaded.manifest.training.generators)}; {loaded.manifest.training.note}. {WHY}"
    pictures = (
        Plot(f"{EVALUATION}/roc.svg", "ROC"),
        Plot(f"{EVALUATION}/reliability.svg", "Reliability of the calibrated probability"),
    )
    return StudyResult(text, (accuracy_table(experiment, found), main), pictures)


def accuracy_table(experiment: Experiment, found: SeedScores) -> Table:
    """Plain accuracy at the paper's threshold and AUC, by generator and in the mean [Tables 1, 2], over all seeds."""
    averaged = experiment.averaged
    rows: list[tuple[Cell, ...]] = []
    for name in experiment.generators:
        counts = np.bincount(found.truth.labels[found.truth.sources == name], minlength=2).tolist()
        label = f"{name}{' *' * experiment.is_trained(name)}" if name in averaged else experiment.marked(name)
        rows.append((label, *counts[::-1], len(found), found.accuracy([name]), found.auc([name])))
    means = {MEAN: averaged, COMMON: common_generators(averaged, experiment.fit.generators),
             "mean of those only reported": [name for name in experiment.generators if name not in averaged]}
    rows += [(label, None, None, len(found), found.accuracy(names), found.auc(names))
             for label, names in means.items() if names]
    note = (f"Accuracy at P(AI) = 0.5. {MACC}. * the head was trained on this generator.{REPORTED}: only reported, in "
            f"no other mean. In both: in this run and in the paper. {INTERVALS}")
    columns = ("generator", "AI images", "real images", "seeds", "accuracy", "AUC")
    return Table("accuracy", "Accuracy and AUC per generator", columns, tuple(rows), note=note)
