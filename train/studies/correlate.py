"""Spearman correlation of s1..s3 with classical image statistics [Fig. 7]."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scipy.stats import norm, spearmanr

from ..evaluation.intervals import TAIL
from ..fitting.examples import read_examples
from ..reporting import plots
from ..reporting.estimate import Estimate
from ..reporting.result import Plot, StudyResult
from ..reporting.tables import Cell, Table
from .controls import CLASSICAL, low_level
from .experiment import Experiment

NAMES = ("s1", "s2", "s3")


def size(rho: float, images: int) -> Estimate:
    """|ρ| with its interval, normal on Fisher's scale (Bonett and Wright 2000, doi 10.1007/BF02294183)."""
    if images <= 3 or not abs(rho) < 1:
        return Estimate(abs(rho))
    half = norm.ppf(1 - TAIL) * np.sqrt((1 + rho**2 / 2) / (images - 3))
    low, high = np.tanh(np.arctanh(abs(rho)) + half * np.array([-1, 1]))
    return Estimate(abs(rho), max(0.0, float(low)), float(high))


def correlate(experiment: Experiment, out: Path) -> StudyResult:
    """Correlate over all evaluated images together, and within each generator and class."""
    (examples,) = read_examples(experiment.cache, experiment.eval_rows, experiment.method)
    deployed = examples.deployed.numpy()
    classical = low_level(experiment, experiment.eval_rows)[", ".join(CLASSICAL)]
    readable = np.isfinite(classical).all(axis=1)

    def rho(chosen: np.ndarray) -> np.ndarray:
        """[3 statistics, 3 classical] of the chosen images; NaN where a side is constant, or for one or two images."""
        own = chosen[readable[chosen]]
        values = np.full((len(NAMES), len(CLASSICAL)), np.nan)
        for i, j in np.ndindex(values.shape):
            a, b = deployed[own, i], classical[own, j]
            if len(a) > 2 and np.ptp(a) > 0 and np.ptp(b) > 0:
                values[i, j] = spearmanr(a, b).statistic
        return values

    whole = rho(np.arange(len(readable)))
    groups = {"all": whole} | {group: rho(chosen) for group, chosen in experiment.eval_parts.items()}
    rows: list[tuple[Cell, ...]] = []
    for group, values in groups.items():
        rows += [(group, name, *map(float, own)) for name, own in zip(NAMES, values, strict=True)]
    title = "Correlation of the statistics with classical statistics"
    plots.matrix(out / "spearman.svg", "Spearman's ρ over all images", NAMES, CLASSICAL, whole, low=-1.0, high=1.0)
    note = (
        "Fig. 7. Entropy: of the 256-level luminance histogram. HF ratio: share of the spectral power above half of "
        "Nyquist. Gradient TV: mean gradient magnitude. All at the network's input size."
    )
    table = Table("spearman", title, ("images", "statistic", *CLASSICAL), tuple(rows), note=note)
    largest = zip(CLASSICAL, (size(value, int(readable.sum())) for value in np.abs(whole).max(axis=0)), strict=True)
    note = "Over s1, s2 and s3. [low, high]: 95 % interval for other images (Bonett and Wright 2000)."
    extremes = Table("spearman_extremes", "Largest correlation over all images", ("statistic", "largest |ρ|"),
                     tuple(largest), note=note)
    text = "Spearman's ρ. The paper reports |ρ| < 0.15 with the high-frequency ratio; here is what these weights give."
    return StudyResult(text, (table, extremes), (Plot("spearman.svg", title),))
