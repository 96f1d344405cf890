"""Fit heads on cached features and compare them: the engine of most studies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from sklearn.metrics import roc_auc_score

from ...runtime.manifest import HeadConfig, MethodConfig
from ..features.cache import FeatureCache
from ..fitting.fit import Examples, logits_of, train_head
from ..tables import Cell, Table
from .experiment import Experiment

ACCURACY_NOTE = (
    "Accuracies where P(AI) = 0.5 (the paper's rule), means over generators; real and AI apart. AUC: mean over all "
    "generators ± standard deviation over the fitted seeds; unseen: generators not trained on."
)


MEANS = ("AUC unseen", "AUC report-only")
"""Columns that are means over some of the generators."""


@dataclass(frozen=True)
class Figures:
    """One generator under one detector: accuracies at logit 0, and AUC."""

    accuracy: float
    real: float
    fake: float
    auc: float


@dataclass(frozen=True)
class HeadInputs:
    """Head inputs of a method's three parts; `held` picks the epoch, `test` is reported, in `eval_rows` order."""

    train: Examples
    held: Examples
    test: Examples


def figures(labels: np.ndarray, scores: np.ndarray, bound: float = 0.0) -> Figures:
    """int [n] labels and float [n] scores, AI above `bound`. Accuracy is the mean of both classes'."""
    real, fake = (scores[labels == 0] <= bound).mean(), (scores[labels == 1] > bound).mean()
    return Figures(float(real + fake) / 2, float(real), float(fake), float(roc_auc_score(labels, scores)))


def per_generator(experiment: Experiment, scores: np.ndarray, bound: float = 0.0) -> dict[str, Figures]:
    """Figures of every evaluated generator from float [n] scores of `eval_rows`."""
    return {
        name: figures(experiment.eval_labels[own], scores[own], bound)
        for name in experiment.generators
        if (own := experiment.eval_generators == name).any()
    }


def read_features(
    cache: FeatureCache, rows: np.ndarray, methods: Sequence[MethodConfig]
) -> tuple[np.ndarray, list[np.ndarray]]:
    """f_global float32 [n, D], and the statistics [n, R, 3] under each method, in one pass over the shards."""
    f_global = np.empty((len(rows), cache.spec.backbone.config.encoder_dim), np.float32)
    stats = [np.empty((len(rows), len(cache.spec.visible), 3), np.float32) for _ in methods]
    for positions, features in cache.batches(rows):
        f_global[positions] = features.f_global
        for one, method in zip(stats, methods, strict=True):
            one[positions] = features.stats(method)
    return f_global, stats


def head_inputs(experiment: Experiment, methods: Mapping[str, MethodConfig]) -> dict[str, HeadInputs]:
    """Head inputs under every method; f_global is shared between them."""
    parts = []
    for rows in (*experiment.rows, experiment.eval_rows):
        f_global, stats = read_features(experiment.cache, rows, list(methods.values()))
        labels = torch.from_numpy(experiment.cache.labels(rows)).float()
        shared = torch.from_numpy(f_global)
        parts.append([Examples(shared, torch.from_numpy(one), labels) for one in stats])
    return {name: HeadInputs(*(part[i] for part in parts)) for i, name in enumerate(methods)}


def fit_scores(experiment: Experiment, inputs: HeadInputs, head: HeadConfig) -> list[np.ndarray]:
    """Logits float32 [n] of `eval_rows`, with the deployed masks, of a head for each seed."""
    found = []
    for seed in range(experiment.seeds):
        config = replace(experiment.fit, seed=experiment.fit.seed + seed)
        fitted = train_head(inputs.train, inputs.held, config, head, quiet=True).head
        found.append(logits_of(fitted, inputs.test.f_global, inputs.test.stats[:, 0]).numpy())
    return found


def comparison(
    name: str,
    title: str,
    what: str,
    experiment: Experiment,
    variants: Mapping[str, Sequence[np.ndarray]],
    note: str = "",
) -> Table:
    """One row a variant, from its scores of `eval_rows` for each seed, AI above 0."""
    unseen = [g for g in experiment.generators if not experiment.is_trained(g)]
    groups = dict(zip(MEANS, (unseen, [g for g in experiment.generators if g in experiment.report_only]), strict=True))
    groups = {title: names for title, names in groups.items() if names}
    rows: list[tuple[Cell, ...]] = []
    for label, seeds in variants.items():
        found = [per_generator(experiment, scores) for scores in seeds]
        means = {
            g: Figures(*np.mean([list(vars(f[g]).values()) for f in found], axis=0)) for g in experiment.generators
        }
        aucs = [float(np.mean([figure.auc for figure in f.values()])) for f in found]
        overall = [float(np.mean([getattr(f, key) for f in means.values()])) for key in ("accuracy", "real", "fake")]
        spread = f" ± {np.std(aucs):.3f}" if len(aucs) > 1 else ""
        rows.append((
            label, *overall, f"{np.mean(aucs):.3f}{spread}",
            *(float(np.mean([means[g].auc for g in names])) for names in groups.values()),
            *(means[g].auc for g in experiment.generators),
        ))  # fmt: skip
    columns = (what, "acc", "real", "AI", "AUC", *groups, *(f"AUC {g}" for g in experiment.generators))
    return Table(name, title, columns, tuple(rows), f"{ACCURACY_NOTE} {note}".strip())
