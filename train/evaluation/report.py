"""Write an evaluation as JSON, CSV and Markdown tables, with ROC curves and a reliability diagram as PNG."""

from __future__ import annotations

import csv
import io
import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.metrics import roc_curve

from ...runtime.atomic import atomic_path, write_text
from .evaluate import Evaluation, GroupFigures, Scored
from .metrics import ECE_BINS, FIGURES, Interval, probabilities

TITLES = {
    "accuracy": "acc", "real_accuracy": "real", "fake_accuracy": "fake", "accuracy_05": "acc@0.5",
    "real_accuracy_05": "real@0.5", "fake_accuracy_05": "fake@0.5", "auc": "AUC", "ap": "AP",
    "tpr_at_fpr_1": "TPR@1%", "tpr_at_fpr_5": "TPR@5%", "ece": "ECE",
}  # fmt: skip
NOTE = (
    "acc, real, fake: share right at the stored threshold, of all, real and AI images; @0.5: where sigmoid(logit) "
    "= 0.5. AUC, AP: AI is positive. TPR@x%: AI images caught while x % of real ones are flagged. ECE: calibrated "
    "probability, 15 bins. "
    "[low, high]: 95 % bootstrap interval. * the head was trained on this generator."
)


def _line(
    generator: str, split: str, counts: tuple[str, str], values: dict[str, float], ci: dict[str, Interval]
) -> list[str]:
    cells = []
    for name in FIGURES:
        interval = f" [{ci[name].low:.3f}, {ci[name].high:.3f}]" if name in ci else ""
        cells.append("-" if math.isnan(values[name]) else f"{values[name]:.3f}{interval}")
    return [generator, split, *counts, *cells]


def table(found: Evaluation, intervals: bool = True) -> list[list[str]]:
    """Header and rows as text; the last rows are the means."""
    lines = [["generator", "split", "AI", "real", *(TITLES[name] for name in FIGURES)]]
    for group in found.groups:
        m = group.metrics
        values = {name: getattr(m, name) for name in FIGURES}
        mark = f"{group.generator}{' *' if group.seen else ''}"
        lines.append(_line(mark, group.split, (str(m.n_ai), str(m.n_real)), values, m.ci if intervals else {}))
    lines.append(_line("mean", "", ("", ""), found.mean, {}))
    if any(not group.seen for group in found.groups) and any(group.seen for group in found.groups):
        lines.append(_line("mean of unseen", "", ("", ""), found.mean_unseen, {}))
    return lines


def markdown(found: Evaluation) -> str:
    """The table with its legend."""
    lines = table(found)
    body = [f"| {' | '.join(line)} |" for line in lines]
    body.insert(1, f"|{' --- |' * len(lines[0])}")
    c = found.calibration
    where = (
        f"threshold {c.threshold:.4f} (logit), uncertain {c.uncertain_low:.4f} to {c.uncertain_high:.4f}; {c.fitted_on}"
    )
    return "\n".join([f"# Evaluation of {Path(found.checkpoint).name}", "", *body, "", where, "", NOTE, ""])


def plain(found: Evaluation) -> str:
    """The table for a terminal, columns aligned, without intervals."""
    lines = table(found, intervals=False)
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    text = []
    for line in lines:
        padded = [cell.ljust(width) for cell, width in zip(line[:2], widths[:2], strict=True)]
        padded += [cell.rjust(width) for cell, width in zip(line[2:], widths[2:], strict=True)]
        text.append("  ".join(padded))
    return "\n".join(text)


def _jsonable(value: Any) -> Any:
    """NaN -> None, through containers."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {key: _jsonable(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_jsonable(one) for one in value]
    return value


def to_json(found: Evaluation) -> dict[str, Any]:
    """Everything, absent figures as null."""
    groups = [{"generator": g.generator, "split": g.split, "seen": g.seen, **asdict(g.metrics)} for g in found.groups]
    value: dict[str, Any] = _jsonable(
        {"checkpoint": found.checkpoint, "calibration": found.calibration.model_dump(), "groups": groups,
         "mean": found.mean, "mean_unseen": found.mean_unseen}
    )  # fmt: skip
    return value


def to_csv(groups: tuple[GroupFigures, ...]) -> str:
    """One line a generator and split, intervals in columns of their own, absent figures empty."""
    bounded = [name for name in FIGURES if any(name in group.metrics.ci for group in groups)]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(
        [
            "generator",
            "split",
            "seen",
            "n_ai",
            "n_real",
            *FIGURES,
            *(f"{n}_{e}" for n in bounded for e in ("low", "high")),
        ]
    )
    for group in groups:
        m = group.metrics
        values = [getattr(m, name) for name in FIGURES]
        nothing = Interval(math.nan, math.nan)
        values += [bound for name in bounded for bound in (m.ci.get(name, nothing).low, m.ci.get(name, nothing).high)]
        cells = ["" if math.isnan(value) else f"{value:.6f}" for value in values]
        writer.writerow([group.generator, group.split, int(group.seen), m.n_ai, m.n_real, *cells])
    return text.getvalue()


def write_report(found: Evaluation, scored: Scored, out: Path) -> list[Path]:
    """eval.json, eval.csv, eval.md, roc.png and reliability.png in `out`; returns their paths."""
    write_text(out / "eval.json", json.dumps(to_json(found), indent=1))
    write_text(out / "eval.csv", to_csv(found.groups))
    write_text(out / "eval.md", markdown(found))
    _plot_roc(found, scored, out / "roc.png")
    _plot_reliability(found, scored, out / "reliability.png")
    return [out / name for name in ("eval.json", "eval.csv", "eval.md", "roc.png", "reliability.png")]


def _plot_roc(found: Evaluation, scored: Scored, path: Path) -> None:
    figure = _figure()
    axes = figure.add_subplot()
    for group in found.groups:
        labels, logits = scored.of(group.generator, group.split)
        if math.isnan(group.metrics.auc):
            continue
        false_positive, true_positive, _ = roc_curve(labels, logits)
        axes.plot(false_positive, true_positive, label=f"{group.generator} {group.split}: AUC {group.metrics.auc:.3f}")
    axes.plot([0, 1], [0, 1], color="0.7", linewidth=0.8)
    axes.set(
        xlabel="share of real images flagged", ylabel="share of AI images caught", title="ROC", xlim=(0, 1), ylim=(0, 1)
    )
    _finish(figure, axes, path)


def _plot_reliability(found: Evaluation, scored: Scored, path: Path) -> None:
    figure = _figure()
    axes = figure.add_subplot()
    for group in found.groups:
        labels, logits = scored.of(group.generator, group.split)
        probability = probabilities(logits, found.calibration)
        which = np.minimum((probability * ECE_BINS).astype(int), ECE_BINS - 1)
        count = np.bincount(which, minlength=ECE_BINS)
        filled = count > 0
        x = np.bincount(which, probability, ECE_BINS)[filled] / count[filled]
        y = np.bincount(which, labels, ECE_BINS)[filled] / count[filled]
        axes.plot(x, y, marker="o", markersize=3, label=f"{group.generator} {group.split}: ECE {group.metrics.ece:.3f}")
    axes.plot([0, 1], [0, 1], color="0.7", linewidth=0.8)
    axes.set(
        xlabel="calibrated probability of AI", ylabel="share that is AI", title="Reliability", xlim=(0, 1), ylim=(0, 1)
    )
    _finish(figure, axes, path)


def _figure() -> Any:
    """A figure on the Agg canvas; pyplot and its global state are not touched."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 5.5), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _finish(figure: Any, axes: Any, path: Path) -> None:
    axes.legend(fontsize=7, loc="lower right")
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png", dpi=120)
