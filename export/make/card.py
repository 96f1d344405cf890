"""The card of an engine that `cinemae make` made: NAME.md, with its promises, figures, data and licence."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from ...runtime.core.files import write_text
from ...runtime.core.likelihood import Likelihood
from ...runtime.engines.file.header import read_manifest
from ...train.data.sample import Sample
from ...train.reporting.tables import Cell, Table
from ..hub import card
from .options import MakeOptions


def write_card(options: MakeOptions, samples: Sequence[Sample], page: Path) -> Path:
    """Write the card and return its path.

    Args:
        options: of the command; the engine, its audit and its evaluation are there.
        samples: all images that have features.
        page: the page for people.
    """
    engine, work = options.out, options.work
    manifest = read_manifest(engine)
    warnings = json.loads((work / "audit" / "audit.json").read_text("utf-8"))["warnings"]
    evaluation = (work / "checkpoint" / "eval" / "eval.md").read_text("utf-8")
    likelihood = manifest.calibration.likelihood
    parts = [
        # the figures follow with their intervals: the manifest's, which have none, are left out
        card(manifest.model_copy(update={"metrics": {}}), str(engine)),
        f"## Figures\n\nOn images that were not trained on. Pictures with verdicts and heatmaps: {page.name}.\n",
        evaluation,
        likelihood_table(likelihood).markdown() if likelihood else "",
        f"## Data\n\n{manifest.calibration.fitted_on}.\n",
        data_table(samples).markdown(),
        "\n".join(f"- **Warning.** {text}" for text in warnings) or "The audit found nothing to warn of.",
    ]
    path = engine.with_suffix(".md")
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


def data_table(samples: Sequence[Sample]) -> Table:
    """Images of each source, split and class."""
    counted = Counter(sample.cell for sample in samples)
    rows = tuple((g, s, counted[g, s, 1], counted[g, s, 0]) for g, s in sorted({(g, s) for g, s, _ in counted}))
    return Table("data", "Images", ("source", "split", "AI", "real"), rows)
