"""NLL_approx [Eq. 2] from the cache, and how well it alone tells the classes apart [Fig. 3, 4]."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from sklearn.metrics import roc_auc_score
from sklearn.tree import DecisionTreeClassifier

from ...runtime.core.manifest import IMAGENET_STD
from ..calibration.scores import Scores
from ..evaluation.intervals import auc_interval
from ..features.cache import FeatureCache, Features
from ..reporting import plots
from ..reporting.estimate import Estimate, mean_of
from ..reporting.result import Plot, StudyResult
from ..reporting.tables import Cell, Table
from .estimates import share
from .experiment import Experiment


def nll_of(features: Features) -> np.ndarray:
    """NLL_approx [Eq. 2]: ||x_m - x_hat_m||^2 / (2 sigma^2) with sigma = 1.

    It is the mean over the masked pixels in ImageNet-normalised space and over the runs of the deployed mask set.

    Returns:
        float32 [n].
    """
    squared = features.sums[:, 0, :, :, :, 2] / np.square(np.asarray(IMAGENET_STD, np.float32))
    return squared.sum(axis=3).mean(axis=(1, 2)) / (3 * features.pixels) / 2


def image_nll(cache: FeatureCache, rows: np.ndarray) -> np.ndarray:
    """NLL_approx of the chosen rows: float32 [n]."""
    nll = np.empty(len(rows), np.float32)
    for positions, features in cache.batches(rows):
        nll[positions] = nll_of(features)
    return nll


def nll_study(experiment: Experiment, out: Path) -> StudyResult:
    """Distributions [Fig. 3] and the cross-generator matrix of threshold classifiers [Fig. 4]."""
    nll, names = experiment.eval_scores(image_nll(experiment.cache, experiment.eval_rows)), experiment.generators
    # thresholds are fitted on one half and tested on the other, by the content of the files
    first = np.array([int(experiment.cache.rows[i].content[:8], 16) % 2 == 0 for i in experiment.eval_rows])
    fitted, tested = nll.take(first), nll.take(~first)
    values = np.full((len(names), len(names)), np.nan)
    directions = []
    accuracies: dict[bool, list[Estimate]] = {True: [], False: []}  # on the generator fitted on, on others
    for i, fitted_on in enumerate(names):
        own = fitted.of(fitted_on)
        stump = DecisionTreeClassifier(max_depth=1, class_weight="balanced", random_state=0)
        stump.fit(own.logits[:, None], own.labels)
        lowest, highest = stump.predict(np.array([[nll.logits.min() - 1], [nll.logits.max() + 1]]))
        directions.append("low is AI" if lowest > highest else "high is AI" if highest > lowest else "one side")
        for j, target in enumerate(names):
            other = tested.of(target)
            right = stump.predict(other.logits[:, None]) == other.labels if len(other.labels) else other.labels
            parts = [right[other.labels == label] for label in (0, 1)]
            if all(map(len, parts)):
                accuracies[i == j].append(mean_of([share(int(part.sum()), len(part)) for part in parts]))
                values[i, j] = accuracies[i == j][-1]
    title = "NLL threshold classifiers across generators"
    plots.matrix(out / "nll_matrix.svg", f"{title}: balanced accuracy", names, names, values, low=0.0, high=1.0,
                 xlabel="tested on", ylabel="fitted on")
    _plot_distributions(nll, names, out / "nll_distributions.svg")
    matrix_rows: list[tuple[Cell, ...]] = [
        (name, direction, *map(float, row)) for name, direction, row in zip(names, directions, values, strict=True)
    ]
    note = (
        "Fig. 4. Balanced accuracy: mean of both classes' accuracies. A threshold and its direction are fitted on half "
        "of a generator's test images, chosen by content, and tested on the other half of each."
    )
    matrix = Table("nll_matrix", title, ("fitted on", "direction", *names), tuple(matrix_rows), note=note)
    extremes = Table(
        "nll_extremes", "NLL threshold classifiers: extremes", ("classifier", "accuracy"),
        (("highest, tested on the same generator", max(accuracies[True], default=None)),
         ("lowest, tested on another generator", min(accuracies[False], default=None))),
        note="Fig. 4. Balanced accuracy, as in the table across generators. [low, high]: 95 % interval of this pair, "
             "which was not chosen before.",
    )
    rows: list[tuple[Cell, ...]] = []
    for name in names:
        of_name = nll.of(name)
        real, fake = (of_name.logits[of_name.labels == label] for label in (0, 1))
        spread = [float(value) for part in (fake, real) for value in (part.mean(), part.std(ddof=1))]
        auc = Estimate(roc_auc_score(of_name.labels, -of_name.logits), **vars(auc_interval(-real, -fake)))
        rows.append((name, len(fake), len(real), *spread, auc))
    columns = ("generator", "AI", "real", "mean AI", "sd AI", "mean real", "sd real", "AUC (low is AI)")
    note = "Fig. 3. The paper's claim is that AI images have the lower NLL: an AUC above 0.5."
    moments = Table("nll", "NLL of real and AI images", columns, tuple(rows), note=note)
    text = (
        "NLL_approx of Eq. 2 with σ = 1: half the squared reconstruction error, mean over the masked pixels in "
        "normalised space, averaged over the deployed masks, from the frozen backbone."
    )
    pictures = (Plot("nll_distributions.svg", "NLL of real and AI images"), Plot("nll_matrix.svg", title))
    return StudyResult(text, (moments, matrix, extremes), pictures)


def _plot_distributions(nll: Scores, names: Sequence[str], path: Path) -> None:
    across, down = min(3, len(names)), -(-len(names) // 3)
    edges = np.linspace(float(nll.logits.min()), float(np.quantile(nll.logits, 0.99)), 36)
    with plots.drawing(path, 3.2 * across + 1, 2.4 * down + 0.6) as figure:
        axes = figure.subplots(down, across, squeeze=False, sharex=True)
        for cell in axes.ravel()[len(names) :]:
            cell.axis("off")
        for cell, name in zip(axes.ravel(), names, strict=False):
            for label, word, colour in ((0, "real", plots.REAL_COLOUR), (1, "AI", plots.AI_COLOUR)):
                own = nll.by_source(label)[name].clip(edges[0], edges[-1])
                cell.hist(own, edges, density=True, alpha=0.6, color=colour, label=word)
            cell.set_title(name, fontsize=9)
            cell.legend(fontsize=7)
        figure.supxlabel("NLL")
