"""LCAS heatmaps of clear successes and failures [Fig. 8, 9]."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ...runtime.core.errors import ImageError
from ...runtime.images.preprocess import load_image
from ..fitting.examples import read_maps
from ..fitting.head_training import train_head
from ..reporting import plots
from ..reporting.result import Plot, StudyResult
from ..reporting.tables import Table
from .comparison import head_inputs
from .experiment import Experiment

SHOWN = 4
"""Cases of each kind."""
KINDS = {
    "AI, found": (1, True),
    "real, passed": (0, False),
    "real, flagged (false positive)": (0, True),
    "AI, missed (false negative)": (1, False),
}


def choose(labels: np.ndarray, scores: np.ndarray, label: int, flagged: bool, count: int) -> np.ndarray:
    """Positions of the most confident cases of one kind, most confident first: int64 [at most count]."""
    fits = np.flatnonzero((labels == label) & ((scores > 0) == flagged))
    return fits[np.argsort(-np.abs(scores[fits]), kind="stable")][:count]


def heatmaps(experiment: Experiment, out: Path) -> StudyResult:
    """Draw the most confident cases of each kind, each map scaled to [0, 1] as in the paper's figures."""
    (inputs,) = head_inputs(experiment, experiment.method)
    scores = inputs.test.logits(train_head(inputs.train, inputs.held, experiment.fit, experiment.head, quiet=True).head)
    files, rows = [], []
    for kind, (label, flagged) in KINDS.items():
        chosen = choose(inputs.test.labels.numpy(), scores, label, flagged, SHOWN)
        name = f"heatmaps_{'ai' if label else 'real'}_{'flagged' if flagged else 'passed'}.svg"
        if len(chosen):
            _draw(experiment, chosen, scores, kind, out / name)
            files.append(Plot(name, f"{kind}: contextual anomaly (LCAS), each scaled to itself", photographs=True))
        for position in chosen:
            row = inputs.test.rows[position]
            file = "/".join(Path(row.path).parts[-2:])
            rows.append((kind, row.generator, float(scores[position]), *inputs.test.deployed[position].tolist(), file))
    note = (
        "Contextual anomaly is no map of fakeness: busy real scenes score high, smooth ones low. Maps are scaled image "
        "by image, so brightness cannot be compared between them."
    )
    columns = ("kind", "generator", "logit", "s1", "s2", "s3", "file")
    table = Table("heatmaps", "The clearest cases of each kind", columns, tuple(rows), note=note)
    text = "Where images depart from what their context predicts (LCAS): the most confident right and wrong answers."
    return StudyResult(text, (table,), tuple(files))


def _draw(experiment: Experiment, positions: np.ndarray, scores: np.ndarray, kind: str, path: Path) -> None:
    config, preprocess = experiment.cache.spec.backbone.config, experiment.cache.spec.preprocess
    extent = (0, preprocess.crop, preprocess.crop, 0)
    maps = read_maps(experiment.cache, experiment.eval_rows[positions], experiment.method)
    with plots.drawing(path, 2.2 * len(positions) + 0.4, 4.8) as figure:
        figure.suptitle(kind)
        axes = figure.subplots(2, len(positions), squeeze=False)
        for column, (position, values) in enumerate(zip(positions, maps, strict=True)):
            row = experiment.cache.rows[experiment.eval_rows[position]]
            low, high = np.nanmin(values), np.nanmax(values)
            grid = ((values - low) / max(high - low, 1e-9)).reshape(config.grid, config.grid)
            top, bottom = axes[:, column]
            try:
                pixels = load_image(row.read(), preprocess, name=row.path).pixels
            except ImageError:
                pixels = np.full((preprocess.crop, preprocess.crop, 3), 127, np.uint8)
            top.imshow(pixels, extent=extent)
            top.set_title(f"{row.generator}\nlogit {scores[position]:+.1f}", fontsize=8)
            bottom.imshow(pixels.mean(axis=2), cmap="gray", extent=extent, vmin=0, vmax=255)
            bottom.imshow(grid, cmap="inferno", alpha=0.6, extent=extent, vmin=0, vmax=1, interpolation="nearest")
            top.axis("off")
            bottom.axis("off")
