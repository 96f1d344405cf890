"""The card of an engine that `cinemae make` made: NAME.md, with its promises, figures, data and licence."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from ...runtime.core.calibration import Likelihood
from ...runtime.core.files import write_text
from ...runtime.engines.file.header import read_manifest
from ...train.fitting.checkpoint_folder import EVAL_FOLDER
from ...train.reporting.tables import Cell, Table
from ..hub import card
from .options import MakeOptions


def write_card(options: MakeOptions, page: Path, warnings: Sequence[str]) -> Path:
    """Write the card of the engine, whose audit and evaluation are there; returns its path.

    Args:
        options: of the command.
        page: of verdicts for people.
        warnings: what the engine cannot promise, and what its evaluation has refuted.

    The manifest's figures have no intervals: those of the evaluation stand in their place.
    """
    manifest, audited = read_manifest(options.out), options.work / "audit"
    likelihood = manifest.calibration.likelihood
    of_data = json.loads((audited / "audit.json").read_text("utf-8"))["warnings"]
    parts = [
        card(manifest.model_copy(update={"metrics": {}}), str(options.out)),
        "".join(f"> **Warning.** {text}.\n>\n" for text in warnings),
        f"## Figures\n\nOn images that were not trained on. Pictures with verdicts and heatmaps: {page.name}.\n",
        (options.checkpoint / EVAL_FOLDER / "eval.md").read_text("utf-8"),
        likelihood_table(likelihood).markdown() if likelihood else "",
        f"## Data\n\nThe calibration: {manifest.calibration.fitted_on}.\n",
        (audited / "counts.md").read_text("utf-8"),
        "\n".join(f"- **Warning.** {text}" for text in of_data) or "The audit found nothing to warn of.",
    ]
    path = options.out.with_suffix(".md")
    write_text(path, "\n".join(parts) + "\n")
    return path


def likelihood_table(likelihood: Likelihood) -> Table:
    """The likelihood ratio at five logits, from the lowest measured to the highest."""
    knots = likelihood.logits
    rows: list[tuple[Cell, ...]] = []
    for logit in (knots[(len(knots) - 1) * i // 4] for i in range(5)):
        ratio, low, high, real, ai = likelihood.at(logit)
        rows.append((f"{logit:.2f}", f"{ratio:.3g} [{low:.3g}, {high:.3g}]", real, ai))
    columns = ("logit", "likelihood ratio [95 % interval]", "real images at least there", "AI images at least there")
    note = "How many times as often AI images have the score as real ones do; interval from resampled sources."
    return Table("likelihood", "Likelihood ratio", columns, tuple(rows), note)
