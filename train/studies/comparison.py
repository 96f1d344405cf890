"""Fit heads on cached features and compare them, the basis of most studies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ...runtime.core.manifest import HeadConfig, MethodConfig
from ..audit.probe import transfer
from ..evaluation.metrics import MACC, Metrics, metrics_by_source
from ..fitting.examples import Examples, read_examples
from ..fitting.head_training import train_head
from ..reporting import plots
from ..reporting.overview import LOGISTIC_HEAD
from ..reporting.result import Plot
from ..reporting.tables import Cell, Table
from .experiment import Experiment

ACCURACY_NOTE = (
    f"Accuracies at P(AI) = 0.5, the paper's rule. {MACC}; real, AI: the same for the images of one class; balanced: "
    "mean over generators of the mean of both classes' accuracies. mAUC: mean over generators; sd: its standard "
    "deviation over the fitted seeds; unseen: generators not trained on."
)
ACCURACIES = {"accuracy_05": "mAcc", "real_accuracy_05": "real", "fake_accuracy_05": "AI"}
"""Means over generators that tables of studies show: field of `Metrics` -> column."""
OVERALL = {**ACCURACIES, "balanced_accuracy_05": "balanced"}
MEANS = ("AUC unseen", "AUC report-only")
"""Columns that are means over a part of the generators."""
F_GLOBAL_ALONE = HeadConfig(statistics=())
LOGISTIC = HeadConfig(kind="logistic")


@dataclass(frozen=True)
class HeadInputs:
    """Examples under one method: to train on, to pick the epoch, and to report, in the order of `eval_rows`."""

    train: Examples
    held: Examples
    test: Examples


def head_inputs(experiment: Experiment, *methods: MethodConfig) -> list[HeadInputs]:
    """Read the inputs of heads under every method; f_global is shared between them."""
    parts = (read_examples(experiment.cache, rows, *methods) for rows in (*experiment.rows, experiment.eval_rows))
    return [HeadInputs(*own) for own in zip(*parts, strict=True)]


def fit_scores(experiment: Experiment, inputs: HeadInputs, head: HeadConfig | None = None) -> list[np.ndarray]:
    """Fit the head, by default the full head, for each seed: its logits of `eval_rows`, float32 [n].

    A logistic head has no seed and is fitted once.
    """
    head = head or experiment.head
    seeds = range(1 if head.kind == "logistic" else experiment.seeds)
    configs = (replace(experiment.fit, seed=experiment.fit.seed + i) for i in seeds)
    fitted = (train_head(inputs.train, inputs.held, config, head, quiet=True) for config in configs)
    return [inputs.test.logits(result.head) for result in fitted]


def statistics_scores(inputs: HeadInputs) -> list[np.ndarray]:
    """Log odds of a logistic regression on s1, s2, s3 alone, on `eval_rows`: one seed, float64 [n]."""
    train, test = (part.deployed.double().numpy() for part in (inputs.train, inputs.test))
    return [transfer(train, inputs.train.labels.numpy(), test)]


def detector_variants(experiment: Experiment, inputs: HeadInputs) -> dict[str, list[np.ndarray]]:
    """Scores of the detector, of the other head on the same features, and of the detector's two halves."""
    return {
        "CINEMAE": fit_scores(experiment, inputs),
        LOGISTIC_HEAD: fit_scores(experiment, inputs, LOGISTIC),
        "f_global alone": fit_scores(experiment, inputs, F_GLOBAL_ALONE),
        "s1..s3 alone (logistic regression)": statistics_scores(inputs),
    }


def per_generator(experiment: Experiment, scores: np.ndarray) -> dict[str, Metrics]:
    """Figures of every evaluated generator, from float [n] scores of `eval_rows`, AI above 0."""
    found = metrics_by_source(experiment.eval_scores(scores))
    return {name: found[name] for name in experiment.generators if name in found}


def seed_means(seeds: Sequence[Mapping[str, Metrics]], figure: str) -> dict[str, float]:
    """A figure of every generator, the mean over the seeds' figures."""
    return {name: float(np.mean([getattr(one[name], figure) for one in seeds])) for name in seeds[0]}


def comparison(
    experiment: Experiment, variants: Mapping[str, Sequence[np.ndarray]], *, name: str, title: str, what: str,
    note: str = "",
) -> Table:
    """Table with a row for each variant: means over generators, and the AUC of each generator.

    `variants` are the scores of `eval_rows` for each seed, float [n], AI above 0; `what` heads the column of their
    names, and `note` is added to the note on accuracies.
    """
    unseen = [g for g in experiment.generators if not experiment.is_trained(g)]
    groups = dict(zip(MEANS, (unseen, experiment.apart), strict=True))
    groups = {title: names for title, names in groups.items() if names}
    spread = ["mAUC sd"] if experiment.seeds > 1 else []
    rows: list[tuple[Cell, ...]] = []
    for label, scored in variants.items():
        seeds = [per_generator(experiment, scores) for scores in scored]
        auc, maucs = seed_means(seeds, "auc"), [np.mean([m.auc for m in one.values()]) for one in seeds]
        rows.append((
            label, *(float(np.mean(list(seed_means(seeds, figure).values()))) for figure in OVERALL),
            float(np.mean(maucs)), *(float(np.std(maucs)) for _ in spread),
            *(float(np.mean([auc[g] for g in names])) for names in groups.values()), *auc.values(),
        ))
    columns = (what, *OVERALL.values(), "mAUC", *spread, *groups, *(f"AUC {g}" for g in experiment.generators))
    return Table(name, title, columns, tuple(rows), note=f"{ACCURACY_NOTE} {note}".strip())


def drawn(out: Path, *tables: Table) -> tuple[tuple[Table, ...], tuple[Plot, ...]]:
    """The tables of `comparison`, and a plot of each: the AUC of every generator as bars, a group for each variant."""
    pictures = []
    for table in tables:
        auc = [i for i, column in enumerate(table.columns) if column.startswith("AUC ") and column not in MEANS]
        series = {table.columns[i][4:]: [float(row[i] or np.nan) for row in table.rows] for i in auc}
        plots.bars(out / f"{table.name}.svg", table.title, "AUC", [str(row[0]) for row in table.rows], series)
        pictures.append(Plot(f"{table.name}.svg", f"{table.title}: AUC"))
    return tables, tuple(pictures)
