"""Fit heads on cached features and compare them, the basis of most studies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, replace

import numpy as np
import torch
from sklearn.metrics import roc_auc_score

from ...runtime.core.manifest import HeadConfig, MethodConfig
from ..evaluation.metrics import MACC
from ..features.cache import FeatureCache
from ..fitting.head_training import Examples, logits_of, train_head
from ..reporting.tables import Cell, Table
from .experiment import Experiment

ACCURACY_NOTE = (
    f"Accuracies at P(AI) = 0.5, the paper's rule. {MACC}; real, AI: the same for the images of one class; balanced: "
    "mean over generators of the mean of both classes' accuracies. mAUC: mean over generators; sd: its standard "
    "deviation over the fitted seeds; unseen: generators not trained on."
)


OVERALL = {"accuracy": "mAcc", "real": "real", "fake": "AI", "balanced_accuracy": "balanced"}
"""Means over generators that every comparison shows: field of `Figures` -> column."""
MEANS = ("AUC unseen", "AUC report-only")
"""Columns that are means over a part of the generators."""


@dataclass(frozen=True)
class Figures:
    """Figures of one detector on one generator.

    Attributes:
        accuracy: plain accuracy, the share of all images that are right.
        real: the share of the real images that are right.
        fake: the share of the AI images that are right.
        balanced_accuracy: mean of `real` and `fake`.
        auc: area under the ROC curve.
    """

    accuracy: float
    real: float
    fake: float
    balanced_accuracy: float
    auc: float


@dataclass(frozen=True)
class HeadInputs:
    """What heads read under one method.

    Attributes:
        train: images to train on.
        held: held-out images, which pick the epoch.
        test: images that are reported, in the order of `eval_rows`.
    """

    train: Examples
    held: Examples
    test: Examples


def figures(labels: np.ndarray, scores: np.ndarray, bound: float = 0.0) -> Figures:
    """Figures from int [n] labels (1 AI) and float [n] scores, AI above `bound`."""
    right = (scores > bound) == labels
    real, fake = float(right[labels == 0].mean()), float(right[labels == 1].mean())
    return Figures(float(right.mean()), real, fake, (real + fake) / 2, float(roc_auc_score(labels, scores)))


def per_generator(experiment: Experiment, scores: np.ndarray, bound: float = 0.0) -> dict[str, Figures]:
    """Figures of every evaluated generator, from float [n] scores of `eval_rows`."""
    return {
        name: figures(experiment.eval_labels[own], scores[own], bound)
        for name in experiment.generators
        if (own := experiment.eval_generators == name).any()
    }


def read_features(
    cache: FeatureCache, rows: np.ndarray, methods: Sequence[MethodConfig]
) -> tuple[np.ndarray, list[np.ndarray]]:
    """Read f_global, float32 [n, D], and the statistics [n, R, 3] under each method, in one pass over the shards."""
    f_global = np.empty((len(rows), cache.spec.backbone.config.encoder_dim), np.float32)
    stats = [np.empty((len(rows), len(cache.spec.visible), 3), np.float32) for _ in methods]
    for positions, features in cache.batches(rows):
        f_global[positions] = features.f_global
        for one, method in zip(stats, methods, strict=True):
            one[positions] = features.stats(method)
    return f_global, stats


def head_inputs(experiment: Experiment, methods: Mapping[str, MethodConfig]) -> dict[str, HeadInputs]:
    """Read the inputs of heads under every method; f_global is shared between them."""
    parts = []
    for rows in (*experiment.rows, experiment.eval_rows):
        f_global, stats = read_features(experiment.cache, rows, list(methods.values()))
        labels = torch.from_numpy(experiment.cache.labels(rows)).float()
        shared = torch.from_numpy(f_global)
        parts.append([Examples(shared, torch.from_numpy(one), labels) for one in stats])
    return {name: HeadInputs(*(part[i] for part in parts)) for i, name in enumerate(methods)}


def fit_scores(experiment: Experiment, inputs: HeadInputs, head: HeadConfig) -> list[np.ndarray]:
    """Fit a head for each seed.

    Returns:
        The logits of each head on `eval_rows` with the deployed masks, float32 [n].
    """
    logits = []
    for seed in range(experiment.seeds):
        config = replace(experiment.fit, seed=experiment.fit.seed + seed)
        fitted = train_head(inputs.train, inputs.held, config, head, quiet=True).head
        logits.append(logits_of(fitted, inputs.test.f_global, inputs.test.stats[:, 0]).numpy())
    return logits


def seed_means(experiment: Experiment, seeds: Sequence[np.ndarray]) -> dict[str, Figures]:
    """Figures of every evaluated generator, means over the seeds' scores of `eval_rows`."""
    fitted = [per_generator(experiment, scores) for scores in seeds]
    return {g: Figures(*np.mean([astuple(one[g]) for one in fitted], axis=0).tolist()) for g in experiment.generators}


def comparison(
    name: str, title: str, what: str, experiment: Experiment, variants: Mapping[str, Sequence[np.ndarray]],
    note: str = "",
) -> Table:
    """Table with a row for each variant: means over generators, and the AUC of each generator.

    Args:
        name: name of the table.
        title: its title.
        what: heading of the column that names the variants.
        experiment: whose `eval_rows` were scored.
        variants: for each variant, the scores of `eval_rows` for each seed, float [n], AI above 0.
        note: added to the note on accuracies.
    """
    unseen = [g for g in experiment.generators if not experiment.is_trained(g)]
    groups = dict(zip(MEANS, (unseen, experiment.apart), strict=True))
    groups = {title: names for title, names in groups.items() if names}
    spread = ["mAUC sd"] if experiment.seeds > 1 else []
    rows: list[tuple[Cell, ...]] = []
    for label, seeds in variants.items():
        means = seed_means(experiment, seeds)
        aucs = [np.mean([figure.auc for figure in per_generator(experiment, scores).values()]) for scores in seeds]
        rows.append((
            label, *(float(np.mean([getattr(f, key) for f in means.values()])) for key in OVERALL),
            float(np.mean(aucs)), *(float(np.std(aucs)) for _ in spread),
            *(float(np.mean([means[g].auc for g in names])) for names in groups.values()),
            *(means[g].auc for g in experiment.generators),
        ))
    columns = (what, *OVERALL.values(), "mAUC", *spread, *groups, *(f"AUC {g}" for g in experiment.generators))
    return Table(name, title, columns, tuple(rows), f"{ACCURACY_NOTE} {note}".strip())


def accuracies(
    name: str, title: str, what: str, experiment: Experiment, variants: Mapping[str, Sequence[np.ndarray]]
) -> Table:
    """Table with a row for each variant: mAcc, and the plain accuracy on each generator. Arguments as `comparison`."""
    rows: list[tuple[Cell, ...]] = []
    for label, seeds in variants.items():
        values = [figure.accuracy for figure in seed_means(experiment, seeds).values()]
        rows.append((label, float(np.mean(values)), *values))
    note = f"Plain accuracies at P(AI) = 0.5. {MACC}."
    return Table(name, title, (what, "mAcc", *experiment.generators), tuple(rows), note)
