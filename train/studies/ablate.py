"""Ablations over the cache alone [Tables 6, 7]: statistics, lambda, pixel space and reductions, fusion."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import get_args

import numpy as np

from ...runtime.core.manifest import Fusion, HeadConfig, MethodConfig
from ..audit.probe import transfer
from ..fitting.head_training import Examples
from ..reporting import plots
from ..reporting.result import Plot, StudyResult
from ..reporting.tables import Table
from .comparison import MEANS, comparison, fit_scores, head_inputs
from .experiment import Experiment

LAMBDAS = (0.0, 0.1, 0.3, 0.5, 1.0)
SUBSETS = ((), ("s1",), ("s2",), ("s3",), ("s2", "s3"), ("s1", "s3"), ("s1", "s2"), ("s1", "s2", "s3"))
"""In the order of Table 6a."""


def _finish(
    out: Path,
    name: str,
    title: str,
    what: str,
    text: str,
    experiment: Experiment,
    variants: Mapping[str, list[np.ndarray]],
) -> StudyResult:
    """Compare the variants in a table and a bar chart."""
    table = comparison(name, title, what, experiment, variants)
    return StudyResult(name, title, text, (table,), (plot_comparison(out, table, title),))


def plot_comparison(out: Path, table: Table, title: str) -> Plot:
    """Plot the AUC of every generator as bars, a group for each variant."""
    auc = [i for i, column in enumerate(table.columns) if column.startswith("AUC ") and column not in MEANS]
    series = {table.columns[i][4:]: [float(row[i] or np.nan) for row in table.rows] for i in auc}
    plots.bars(out / f"{table.name}.svg", title, "AUC", [str(row[0]) for row in table.rows], series)
    return Plot(f"{table.name}.svg", f"{title}: AUC")


def statistics_subsets(experiment: Experiment, out: Path) -> StudyResult:
    """Table 6a: every subset of s1, s2, s3; the empty one leaves f_global alone."""
    inputs = head_inputs(experiment, {"method": experiment.method})["method"]
    variants = {
        " + ".join(subset) or "none (f_global alone)": fit_scores(
            experiment, inputs, experiment.head.model_copy(update={"statistics": subset})
        )
        for subset in SUBSETS
    }
    text = "Each subset of the statistics, a head fitted from scratch (Table 6a of the paper)."
    return _finish(out, "statistics", "Ablation: statistics", "statistics", text, experiment, variants)


def _deployed(part: Examples) -> np.ndarray:
    """Statistics under the deployed masks: float64 [n, 3]."""
    return part.stats[:, 0].double().numpy()


def _methods_study(
    out: Path, name: str, title: str, what: str, text: str, experiment: Experiment, methods: Mapping[str, MethodConfig]
) -> StudyResult:
    """Compare methods by the full head, and by the statistics alone, where f_global cannot hide a difference."""
    inputs = head_inputs(experiment, methods)
    heads = {key: fit_scores(experiment, one, experiment.head) for key, one in inputs.items()}
    full = comparison(name, title, what, experiment, heads)
    alone = {}
    for key, one in inputs.items():
        alone[key] = [transfer(_deployed(one.train), one.train.labels.numpy(), _deployed(one.test))]
    bare = comparison(f"{name}_statistics", f"{title}, s1..s3 alone (logistic regression)", what, experiment, alone)
    pictures = tuple(plot_comparison(out, table, table.title) for table in (full, bare))
    return StudyResult(name, title, text, (full, bare), pictures)


def lambdas(experiment: Experiment, out: Path) -> StudyResult:
    """Table 6b: the weight of the fidelity term."""
    methods = {f"λ = {value:g}": experiment.method.model_copy(update={"lambda_": value}) for value in LAMBDAS}
    text = "The weight λ of the fidelity term (Table 6b); at 0 the statistics see D_stat alone."
    return _methods_study(out, "lambda", "Ablation: λ", "λ", text, experiment, methods)


def pixels(experiment: Experiment, out: Path) -> StudyResult:
    """The pixel space and the two reductions, which the paper does not specify."""
    methods = {
        f"{space}, D_stat {stat}, fidelity {fidelity}": MethodConfig.model_validate(
            {
                **experiment.method.model_dump(),
                "pixel_space": space,
                "stat_reduction": stat,
                "fidelity_reduction": fidelity,
            }
        )
        for space in ("unit", "imagenet")
        for stat in ("mean", "sum")
        for fidelity in ("sum", "mean")
    }
    text = (
        "The paper does not say in which pixel space LCAS lives, nor whether its two terms sum or average over a "
        "patch's values. All eight readings at the same λ; the first is the default."
    )
    return _methods_study(out, "pixels", "Ablation: pixel space and reductions", "reading", text, experiment, methods)


def fusions(experiment: Experiment, out: Path) -> StudyResult:
    """Table 7: the six fusion variants."""
    inputs = head_inputs(experiment, {"method": experiment.method})["method"]
    heads: dict[str, HeadConfig] = {
        name: experiment.head.model_copy(update={"fusion": name}) for name in get_args(Fusion)
    }
    variants = {name.replace("_", " "): fit_scores(experiment, inputs, head) for name, head in heads.items()}
    text = "How f_global and f_anomaly meet (Table 7): before the classifier (early) or after one on each (late)."
    return _finish(out, "fusion", "Ablation: fusion", "fusion", text, experiment, variants)


CACHED_PARTS: dict[str, Callable[[Experiment, Path], StudyResult]] = {
    "statistics": statistics_subsets,
    "lambda": lambdas,
    "pixels": pixels,
    "fusion": fusions,
}
