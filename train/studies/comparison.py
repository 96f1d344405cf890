"""Fit heads on cached features and compare them, the basis of most studies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ...runtime.core.manifest import HeadConfig, MethodConfig
from ..audit.probe import transfer
from ..evaluation.metrics import MACC
from ..fitting.examples import Examples, read_examples
from ..fitting.head_training import train_head
from ..model.head import Head
from ..reporting import plots
from ..reporting.overview import LOGISTIC_HEAD
from ..reporting.published import COMMON_TABLE, REPORTED, common_generators
from ..reporting.result import Plot
from ..reporting.tables import Cell, Table
from .estimates import INTERVALS, SeedScores
from .experiment import Experiment

ACCURACY_NOTE = (
    f"Accuracies at P(AI) = 0.5, the paper's rule. {MACC}; real, AI: the same for the images of one class; balanced: "
    "mean over generators of the mean of both classes' accuracies. mAUC: mean over generators; sd: its standard "
    f"deviation over the fitted seeds; unseen: generators not trained on;{REPORTED}: only reported, in no other mean. "
    f"{INTERVALS}"
)
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


def fit_heads(experiment: Experiment, inputs: HeadInputs, head: HeadConfig | None = None) -> list[Head]:
    """Fit the head, by default the full head, for each seed; a logistic head has no seed and is fitted once."""
    head = head or experiment.head
    seeds = range(1 if head.kind == "logistic" else experiment.seeds)
    configs = (replace(experiment.fit, seed=experiment.fit.seed + i) for i in seeds)
    return [train_head(inputs.train, inputs.held, config, head, quiet=True).head for config in configs]


def fit_scores(experiment: Experiment, inputs: HeadInputs, head: HeadConfig | None = None) -> list[np.ndarray]:
    """Logits of `eval_rows` by each of `fit_heads`: float32 [n]."""
    return [inputs.test.logits(fitted) for fitted in fit_heads(experiment, inputs, head)]


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


def encoder_variants(experiment: Experiment) -> dict[str, list[np.ndarray]]:
    """Scores of the budget's global encoder alone and beside LCAS, in the order of `eval_rows`; {} without encoder."""
    one = experiment.beside
    if one is None:
        return {}
    (inputs,) = head_inputs(one, one.method)
    name = one.global_encoder.partition(":")[0] if one.global_encoder else ""
    return {f"{name} alone": fit_scores(one, inputs, F_GLOBAL_ALONE), f"{name} + LCAS": fit_scores(one, inputs)}


def seed_scores(experiment: Experiment, variants: Mapping[str, Sequence[np.ndarray]]) -> dict[str, SeedScores]:
    """The scores of every variant, float [n] of `eval_rows` for each seed, with labels and generators."""
    truth = experiment.eval_scores(np.zeros(len(experiment.eval_rows)))
    return {label: SeedScores(scores, truth) for label, scores in variants.items()}


def sizes(experiment: Experiment) -> str:
    """How many images the heads are trained and tested on, for the note of a table."""
    return f"{len(experiment.rows[0]):,} training images, {len(experiment.eval_rows):,} test images."


def comparison(
    experiment: Experiment, variants: Mapping[str, Sequence[np.ndarray]], *, name: str, title: str, what: str,
    note: str | None = None,
) -> tuple[Table, ...]:
    """Table with a row for each variant: means over generators, and the AUC of each generator.

    `variants` are the scores of `eval_rows` for each seed, float [n], AI above 0; `what` heads the column of their
    names, and `note`, by default `sizes`, is added to the note on accuracies. Where only some of the generators are the
    paper's, a second table is over these.
    """
    scored, averaged = seed_scores(experiment, variants), experiment.averaged
    note = f"{ACCURACY_NOTE} {sizes(experiment) if note is None else note}".strip()
    unseen = [g for g in averaged if not experiment.is_trained(g)]
    apart = [g for g in experiment.generators if g not in averaged]
    groups = {title: names for title, names in zip(MEANS, (unseen, apart), strict=True) if names}
    columns, rows = _compared(experiment, scored, averaged, groups)
    tables = [Table(name, title, (what, *columns), rows, note=note, signed=columns[2:3])]
    common = common_generators(averaged, experiment.fit.generators)
    if common and common != averaged:
        columns, rows = _compared(experiment, scored, common, {})
        named = f"{title}: the generators that the paper has too"
        tables.append(Table(f"{name}{COMMON_TABLE}", named, (what, *columns), rows, note=note, signed=columns[2:3]))
    return tuple(tables)


def _compared(
    experiment: Experiment, scored: Mapping[str, SeedScores], averaged: Sequence[str],
    groups: Mapping[str, Sequence[str]],
) -> tuple[tuple[str, ...], tuple[tuple[Cell, ...], ...]]:
    """Columns behind the name, and rows, with means over the generators `averaged`, and AUCs of these and `groups`."""
    (first, reference), *_ = scored.items()
    each = [*averaged, *groups.get(MEANS[1], ())]
    spread = ["mAUC sd"] if experiment.seeds > 1 else []
    rows: list[tuple[Cell, ...]] = []
    for label, one in scored.items():
        real, ai = (one.class_accuracy(label, averaged) for label in (0, 1))
        seeds = one.seed_aucs(averaged)
        rows.append((
            label, len(one), one.accuracy(averaged), None if one is reference else one.gain(reference, averaged),
            real, ai, (real + ai) / 2, one.auc(averaged),
            *(float(seeds.std(ddof=1)) if len(one) > 1 else None for _ in spread),
            *(float(one.seed_aucs(names).mean()) for names in groups.values()),
            *(float(one.seed_aucs([name]).mean()) for name in each),
        ))
    columns = ("seeds", "mAcc", f"mAcc less {first}", "real", "AI", "balanced", "mAUC", *spread, *groups,
               *(f"AUC {experiment.marked(name)}" for name in each))
    return columns, tuple(rows)


def drawn(out: Path, *tables: Table) -> tuple[tuple[Table, ...], tuple[Plot, ...]]:
    """The tables of `comparison`, and a plot of each: the AUC of every generator as bars, a group for each variant."""
    pictures = []
    for table in tables:
        if table.name.endswith(COMMON_TABLE):
            continue
        auc = [i for i, column in enumerate(table.columns) if column.startswith("AUC ") and column not in MEANS]
        series = {table.columns[i][4:]: [float(row[i] or np.nan) for row in table.rows] for i in auc}
        plots.bars(out / f"{table.name}.svg", table.title, "AUC", [str(row[0]) for row in table.rows], series)
        pictures.append(Plot(f"{table.name}.svg", f"{table.title}: AUC"))
    return tables, tuple(pictures)
