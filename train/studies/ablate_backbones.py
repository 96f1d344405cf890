"""Ablation of the backbone [Table 5b]: the same heads on the features of several masked autoencoders."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from ...runtime.core.manifest import HeadConfig
from ..reporting.result import StudyResult
from ..reporting.tables import Cell, Table
from ..weights.key_layouts import is_decoder
from .ablate import plot_comparison
from .comparison import comparison, fit_scores, head_inputs
from .nll import image_nll
from .study_data import StudyData


def backbones(data: StudyData, out: Path, names: Sequence[str]) -> StudyResult:
    """Compare the detector and f_global alone on each of the backbones `names`, on the thinned samples."""
    samples = data.train_samples() + data.test_samples()
    variants: dict[str, list[np.ndarray]] = {}
    rows: list[tuple[Cell, ...]] = []
    for name in names:
        one = replace(data, backbone=name)
        cache = one.fill(samples)
        experiment = one.experiment(cache)
        config = cache.spec.backbone.config
        label = f"{Path(name).name} ({config.encoder_dim} x {config.encoder_depth})"
        inputs = head_inputs(experiment, {"m": experiment.method})["m"]
        variants[label] = fit_scores(experiment, inputs, experiment.head)
        variants[f"{label}, f_global alone"] = fit_scores(experiment, inputs, HeadConfig(statistics=()))
        nll, ai = image_nll(cache, experiment.eval_rows), experiment.eval_labels == 1
        millions = sum(p.numel() for key, p in one.load().named_parameters() if not is_decoder(key)) / 1e6
        rows.append((label, millions, float(nll[~ai].mean()), float(nll[ai].mean())))
    title = "Ablation: backbone"
    table = comparison("backbones", title, "backbone", experiment, variants, data.bounds())
    columns = ("backbone", "encoder parameters, M", "NLL real", "NLL AI")
    sizes = Table("backbone_sizes", "Backbones: size and mean reconstruction error", columns, tuple(rows))
    text = "The same protocol on other masked autoencoders (Table 5b)."
    return StudyResult("backbones", title, text, (table, sizes), (plot_comparison(out, table, title),))
