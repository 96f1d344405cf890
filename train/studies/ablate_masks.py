"""Ablation of K and of the mask strategy: one extraction with the largest K serves all smaller ones."""

from __future__ import annotations

from pathlib import Path

from ..reporting.result import StudyResult
from .ablate import plot_comparison
from .comparison import comparison, fit_scores, head_inputs
from .study_data import StudyData

KS = (1, 2, 4, 8)
STRATEGIES = ("balanced", "independent")


def masks(data: StudyData, out: Path, ks: tuple[int, ...] = KS) -> StudyResult:
    """Compare every K of `ks` under both mask strategies, on the thinned samples, with one stored mask set each."""
    samples = data.train_samples() + data.test_samples()
    variants = {}
    for strategy in STRATEGIES:
        most = data.method.model_copy(update={"k": max(ks), "mask_strategy": strategy, "mask_sets": 1})
        cache = data.fill(samples, method=most)
        for k in ks:
            method = cache.spec.method(k)
            experiment = data.experiment(cache, method)
            variants[f"K = {k}, {strategy}"] = fit_scores(
                experiment, head_inputs(experiment, {"m": method})["m"], experiment.head
            )
    title = "Ablation: K and mask strategy"
    note = f"{data.bounds()} One mask set (R = 1); s3 is 0 at K = 1.".strip()
    table = comparison("masks", title, "masks", experiment, variants, note)
    text = "The number of masked passes, and balanced against independent masks."
    return StudyResult("masks", title, text, (table,), (plot_comparison(out, table, title),))
