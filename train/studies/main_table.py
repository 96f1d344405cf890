"""The main result [Tables 1, 2, 4]: one checkpoint fitted, calibrated, evaluated; and the format-balanced protocol."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ...runtime.manifest import HeadConfig
from ..audit.probe import transfer
from ..evaluation.evaluate import evaluate, score
from ..evaluation.report import NOTE, table, write_report
from ..fitting.checkpoint import load_head
from ..fitting.fit import fit
from ..tables import Table
from .comparison import comparison, fit_scores, load_data
from .experiment import Setup
from .result import Plot, StudyResult
from .study_data import Source

CHECKPOINT = "checkpoint"


def main_table(setup: Setup, out: Path) -> StudyResult:
    """A checkpoint in `out`/checkpoint, its figures on every generator with intervals, ROC and reliability."""
    fit(setup.cache, out / CHECKPOINT, setup.method, setup.head, setup.fit, quiet=setup.quiet)
    loaded = load_head(out / CHECKPOINT)
    scored = score(loaded, setup.cache, setup.eval_rows)
    found = evaluate(loaded, scored)
    write_report(found, scored, out)
    (generator, split, _, _, *figures), *rows = table(found)
    header = (generator, split, "AI images", "real images", *figures)
    main = Table("main", "Accuracy per generator", header, tuple(tuple(row) for row in rows), NOTE)
    text = f"Trained on {', '.join(loaded.manifest.training.generators)}; {loaded.manifest.training.note}."
    pictures = (Plot("roc.png", "ROC"), Plot("reliability.png", "Reliability of the calibrated probability"))
    return StudyResult("main", "Main result", text, (main,), pictures)


def balanced(source: Source, out: Path) -> StudyResult:
    """The same heads on the thinned samples as they are and format-balanced, train and test alike."""
    samples = source.train_samples() + source.test_samples()
    tables = []
    for name, title, augment in (
        ("native", "Images as they are", "none"),
        ("balanced", "Format-balanced: both classes cut, resampled and re-encoded alike", "balanced"),
    ):
        setup = source.setup(source.fill(samples, augment=augment))
        data = load_data(setup, {"method": setup.method})["method"]
        stats = [part.stats[:, 0].double().numpy() for part in (data.train, data.test)]
        variants: dict[str, list[np.ndarray]] = {
            "CINEMAE": fit_scores(setup, data, setup.head),
            "f_global alone": fit_scores(setup, data, HeadConfig(statistics=())),
            "s1..s3 alone (logistic regression)": [transfer(stats[0], data.train.labels.numpy(), stats[1])],
        }
        tables.append(comparison(name, title, "detector", setup, variants, source.bounds()))
    text = (
        "How much of the accuracy is the file's and not the picture's: what falls from the first table to the second "
        "came from container, compression history or native size."
    )
    return StudyResult("balanced", "Format-balanced protocol", text, tuple(tables))
