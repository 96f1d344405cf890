"""Figures of an engine per generator, from the files: python benchmarks/bundled_engine.py DATA [--engine FILE]

Scores every image of the split `val` (or --split) with the engine alone (the runtime, no PyTorch model) and prints a
Markdown table; --out also writes it as Markdown, CSV and JSON. Default engine: the bundled one.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np
from cinemae.runtime import Detector
from cinemae.runtime.core.calibration import Calibration
from cinemae.runtime.core.progress import Progress
from cinemae.train.data.sample import Sample
from cinemae.train.data.samples import read_samples
from cinemae.train.evaluation.metrics import Metrics, binary_metrics
from cinemae.train.reporting.tables import MISSING, Cell, Table

COLUMNS = ("generator", "AI", "real", "AUC", "AUC 95 % CI", "AP", "accuracy", "real acc.", "fake acc.", "acc. at 0.5",
           "TPR at 5 % FPR", "uncertain")


def score(engine: Path | None, samples: list[Sample]) -> tuple[Calibration, dict[str, list[tuple[int, float, str]]]]:
    """Calibration, and (label, raw logit, verdict) of every readable image by generator."""
    found: dict[str, list[tuple[int, float, str]]] = defaultdict(list)
    with Detector.load(engine, device="cpu") as detector, Progress("images", len(samples)) as progress:
        for sample, record in zip(samples, detector.detect_many(s.path for s in samples), strict=True):
            progress.advance()
            if record.logit is None or record.verdict is None:
                print(f"skipped: {record.error}", file=sys.stderr)
                continue
            found[sample.generator].append((sample.label, record.logit, record.verdict))
        return detector.manifest.calibration, found


def figures(m: Metrics, uncertain: float) -> list[float]:
    """The columns of `COLUMNS` that have a mean."""
    return [m.auc, m.ap, m.accuracy, m.real_accuracy, m.fake_accuracy, m.accuracy_05, m.tpr_at_fpr_5, uncertain]


def line(name: str, n_ai: int, n_real: int, ci: str, values: list[float]) -> tuple[Cell, ...]:
    """One row of the table."""
    auc, *others = values
    return (name, n_ai, n_real, auc, ci, *others)


def main() -> None:
    """Parse, score, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--engine", type=Path, help="default: the bundled engine")
    parser.add_argument("--split", default="val")
    parser.add_argument("--out", type=Path, help="folder for bundled-engine.{md,csv,json}")
    args = parser.parse_args()
    calibration, found = score(args.engine, read_samples(args.data, split=args.split))
    rows, known, n_ai, n_real = [], [], 0, 0
    for generator, scored in sorted(found.items()):
        labels, logits = np.array([s[0] for s in scored]), np.array([s[1] for s in scored])
        m = binary_metrics(labels, logits, calibration)
        values = figures(m, float(np.mean([s[2] == "uncertain" for s in scored])))
        interval = m.ci.get("auc")
        ci = f"{interval.low:.3f} to {interval.high:.3f}" if interval else MISSING
        rows.append(line(generator, m.n_ai, m.n_real, ci, values))
        n_ai, n_real = n_ai + m.n_ai, n_real + m.n_real
        if not math.isnan(m.auc):
            known.append(values)
    means = [float(np.mean(column)) for column in zip(*known, strict=True)]
    mean = line("mean", n_ai, n_real, MISSING, means or [math.nan] * (len(COLUMNS) - 4))
    table = Table("bundled-engine", "Engine on the bench", COLUMNS, (*rows, mean), note=(
        "AUC: against the generator's own real images. Accuracies are shares of the decided images, `acc. at 0.5` of "
        "all, where the raw logit is 0; `uncertain` is the share of verdicts that say so. Intervals: logit-DeLong."))
    print(table.markdown())
    if args.out:
        table.write(args.out)


if __name__ == "__main__":
    main()
