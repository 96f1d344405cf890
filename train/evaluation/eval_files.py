"""The files that `eval` writes: JSON, CSV and Markdown, with ROC curves and a reliability diagram as SVG and PNG."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.metrics import roc_curve

from ...runtime.core.files import write_text
from ..calibration.scores import Scores
from ..reporting import plots
from ..reporting.tables import Cell, Table, jsonable
from .evaluate import Evaluation, Means
from .intervals import Interval, share_interval
from .metrics import ECE_BINS, ECE_IMAGES, FIGURES, MACC, bins_of, class_weights, probabilities
from .verdicts import promise_kept, promise_text, verdict_table

BRIEF = ("auc", "auc_all_real", "coverage", "accuracy", "accuracy_05", "ap")
"""The figures that a terminal shows."""
BRIEF_NOTE = (
    "AUC own real: how well AI ranks above the real images that the generator brings along, of the same content if "
    "the data are made so. AUC all real: above all real images evaluated, where content tells the classes apart "
    "too. decided: share of the images that are called ai or real. acc: share of the decided images that are right. "
    "acc@0.5: of all images, at the paper's threshold, sigmoid(logit) = 0.5; in the row of the mean, the paper's "
    "mAcc. *: trained on this generator."
)
"""Explains the table on a terminal."""
NOTE = (
    f"{BRIEF_NOTE} real, fake: acc of either class. TPR@x%: AI images found while x % of real images are flagged. "
    f"AP, acc and acc@0.5 follow the ratio of the classes; {MACC}. balanced: both classes weighted alike. Cllr: cost "
    "of the likelihood ratio in bits, 1 is a ratio of 1 for all; min: the least of any ascending map on these "
    f"images. ECE: error of the probability, classes weighted alike, {ECE_BINS} bins, from {ECE_IMAGES:,} images on; "
    "noise: its size where the probability is right. means: over the generators with images of both classes; mean "
    "AUC all real: over all generators with AI images. [low, high]: 95 % interval, exact for shares, DeLong's for "
    "AUC, of resampled generators for means. called ai, uncertain, called real: shares of the verdicts."
)
"""Explains the tables of an evaluation."""


def eval_table(evaluation: Evaluation, brief: bool = False) -> Table:
    """The table for readers: one row for each generator and split, all images, then the means.

    Args:
        evaluation: the figures.
        brief: `BRIEF` alone, without intervals; else all figures, with the 95 % intervals of those that have one.
    """
    figures = BRIEF if brief else tuple(FIGURES)

    def cells(values: Mapping[str, float], ci: Mapping[str, Interval]) -> list[Cell]:
        return [
            values[name] if brief or name not in ci
            else f"{values[name]:.3f} [{ci[name].low:.3f}, {ci[name].high:.3f}]"
            for name in figures
        ]

    def mean_row(title: str, mean: Means) -> tuple[Cell, ...]:
        count = f"{title} ({len(mean.generators)})"
        return (count, "", None, None, *cells({**dict.fromkeys(FIGURES, math.nan), **mean.values}, mean.ci))

    rows: list[tuple[Cell, ...]] = []
    for group in evaluation.groups:
        m = group.metrics
        mark = f"{group.generator}{' *' if group.seen else ''}"
        rows.append((mark, group.split, m.n_ai, m.n_real, *cells(vars(m), m.ci)))
    if len(evaluation.groups) > 1:
        m = evaluation.whole
        rows.append(("all images", "", m.n_ai, m.n_real, *cells(vars(m), m.ci)))
    means = {"mean": evaluation.mean}
    if len({group.seen for group in evaluation.groups}) == 2:
        means["mean of unseen"] = evaluation.mean_unseen
    if evaluation.mean_all_real.generators != evaluation.mean.generators:
        means["mean AUC all real"] = evaluation.mean_all_real
    rows += [mean_row(title, mean) for title, mean in means.items() if mean.generators]
    columns = ("generator", "split", "AI images", "real images", *(FIGURES[name] for name in figures))
    title, unpaired = f"Evaluation of {Path(evaluation.checkpoint).name}", no_own_real(evaluation)
    if brief:
        return Table("eval", title, columns, tuple(rows), note=f"{BRIEF_NOTE} {unpaired}".strip())
    where = f"{promise_text(evaluation.calibration)}. {evaluation.calibration.fitted_on}. {unpaired}".strip()
    return Table("eval", title, columns, tuple(rows), note=f"{where}\n\n{NOTE}")


def no_own_real(evaluation: Evaluation) -> str:
    """A sentence for an evaluation in which no generator has images of both classes; "" for others."""
    if evaluation.mean.generators:
        return ""
    whole = evaluation.whole
    if not whole.both:
        missing = "real" if whole.n_ai else "AI"
        return f"There are no {missing} images, so there is no AUC: add {missing} images to the data."
    return (
        "No generator has images of both classes, so there is no AUC against real images of the same content: AUC all "
        f"real ranks the AI images of each generator above all {whole.n_real:,} real images."
    )


def eval_json(evaluation: Evaluation) -> dict[str, Any]:
    """Everything for eval.json; figures that do not exist are null."""
    groups = [{"generator": g.generator, "split": g.split, "seen": g.seen, **asdict(g.metrics)}
              for g in evaluation.groups]
    record: dict[str, Any] = jsonable({
        "checkpoint": evaluation.checkpoint, "calibration": evaluation.calibration.model_dump(), "groups": groups,
        "whole": asdict(evaluation.whole), "mean": asdict(evaluation.mean),
        "mean_unseen": asdict(evaluation.mean_unseen), "mean_all_real": asdict(evaluation.mean_all_real),
        "verdicts": [asdict(counts) for counts in evaluation.verdicts],
    })
    return record


def eval_csv(evaluation: Evaluation) -> str:
    """The groups of eval.json for programs: the bounds of intervals have columns of their own."""
    groups = [{**group, "seen": int(group["seen"])} for group in eval_json(evaluation)["groups"]]
    bounded = [name for name in FIGURES if any(name in group["ci"] for group in groups)]
    ends = {f"{name}_{end}": (name, end) for name in bounded for end in ("low", "high")}
    columns = ("generator", "split", "seen", "n_ai", "n_real", *FIGURES)
    rows = tuple(
        (*(group[column] for column in columns), *(group["ci"].get(name, {}).get(end) for name, end in ends.values()))
        for group in groups
    )
    return Table("eval", "Evaluation", (*columns, *ends), rows).csv()


def write_eval(evaluation: Evaluation, scores: Scores, out: Path) -> list[Path]:
    """Write eval.json, eval.csv, eval.md, and roc and reliability as SVG and PNG, into `out`.

    Returns:
        The paths of the files.
    """
    write_text(out / "eval.json", json.dumps(eval_json(evaluation), indent=1))
    write_text(out / "eval.csv", eval_csv(evaluation))
    verdicts = verdict_table(evaluation.verdicts)
    kept = promise_kept(evaluation.verdicts, evaluation.calibration)
    write_text(out / "eval.md", f"{eval_table(evaluation).markdown()}\n{verdicts.markdown()}\n{kept}\n")
    verdicts.write(out)
    _plot_roc(evaluation, scores, out / "roc.svg")
    _plot_reliability(evaluation, scores, out / "reliability.svg")
    return [out / name for name in ("eval.json", "eval.csv", "eval.md", "roc.png", "reliability.png")]


def _plot_roc(evaluation: Evaluation, scores: Scores, path: Path) -> None:
    all_real = scores.logits[scores.labels == 0]
    with plots.drawing(path, 6, 5.5, png=True) as figure:
        axes = figure.add_subplot()
        for group in evaluation.groups:
            own, m = scores.of(group.generator, group.split), group.metrics
            real, auc, told = (all_real, m.auc_all_real, ", all real") if not m.n_real else (
                own.logits[own.labels == 0], m.auc, "")
            if not math.isnan(auc):
                ai = own.logits[own.labels == 1]
                rates = roc_curve(np.repeat([0, 1], [len(real), len(ai)]), np.concatenate([real, ai]))
                axes.plot(*rates[:2], label=f"{group.generator} {group.split}{told}: {auc:.3f}")
        axes.plot([0, 1], [0, 1], color=plots.MUTED, linewidth=0.8)
        axes.set(xlabel="share of real images flagged", ylabel="share of AI images caught", xlim=(0, 1), ylim=(0, 1),
                 title="ROC and AUC, against the own real images of each generator")
        if len(axes.lines) > 1:
            axes.legend(fontsize=7, loc="lower right")


def _plot_reliability(evaluation: Evaluation, scores: Scores, path: Path) -> None:
    """Bars of the share that is AI in each bin of the probability, both classes weighted alike, above their counts.

    The interval of a bar is that of as many images of equal weight as tell as much (Kish 1965).
    """
    probability, labels = probabilities(scores.logits, evaluation.calibration), scores.labels
    weights = class_weights(labels) if evaluation.whole.both else np.ones(len(labels))
    which = bins_of(probability)
    total, squares, ai = (np.bincount(which, part, ECE_BINS) for part in (weights, weights**2, weights * labels))
    counts = [np.bincount(which[labels == label], minlength=ECE_BINS) for label in (0, 1)]
    filled, edges = total > 0, np.arange(ECE_BINS) / ECE_BINS
    share, equal = ai[filled] / total[filled], total[filled] ** 2 / squares[filled]
    bounds = [share_interval(one * count, count) for one, count in zip(share, equal, strict=True)]
    m = evaluation.whole
    error = f"ECE {m.ece:.3f}, noise {m.ece_noise:.3f}" if m.ece == m.ece else f"no ECE under {ECE_IMAGES:,} images"
    width = {"width": 1 / ECE_BINS, "align": "edge", "edgecolor": plots.GROUND}
    with plots.drawing(path, 6, 6.2, png=True) as figure:
        upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1.6))
        upper.bar(edges[filled], share, **width)
        upper.vlines(edges[filled] + 0.5 / ECE_BINS, [one.low for one in bounds], [one.high for one in bounds],
                     color=plots.INK, linewidth=1, label="95 % interval")
        upper.plot([0, 1], [0, 1], color=plots.MUTED, linewidth=0.9, linestyle="--", label="calibrated")
        upper.set(ylabel="share that is AI, classes weighted alike", ylim=(0, 1), xlim=(0, 1),
                  title=f"Reliability, all generators: {error}")
        upper.legend(fontsize=8, loc="upper left")
        lower.bar(edges, counts[0], color=plots.REAL_COLOUR, label="real", **width)
        lower.bar(edges, counts[1], bottom=counts[0], color=plots.AI_COLOUR, label="AI", **width)
        for x, count in zip(edges, counts[0] + counts[1], strict=True):
            lower.text(x + 0.5 / ECE_BINS, count, f"{count:,}", ha="center", va="bottom", fontsize=7)
        lower.margins(y=0.15)
        lower.set(xlabel="calibrated probability of AI", ylabel="images")
        lower.legend(fontsize=8)
