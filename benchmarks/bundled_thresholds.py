"""Thresholds of the bundled engine, from its scores on sources that its head has not seen.

    cinemae-run DATA/sources DATA/bench/*/val --out scores.jsonl
    python benchmarks/bundled_thresholds.py scores.jsonl --engine models/cinemae-demo.onnx

The head was fitted on one generator, so every other source is unseen: no source need be left out to score it. Sources
are the folders `<source>/<split>/{ai,nature}`; those of `--report-only` set nothing and are reported apart, the
training generator is left out. The promise is checked by leaving out each source in turn: thresholds from all others,
verdicts on that one. `--write` puts probability and thresholds into the engine; its graph, and so every logit, stays.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
from cinemae.export.engine_file import write_graph
from cinemae.runtime.atomic import write_text
from cinemae.runtime.calibration import Calibration
from cinemae.runtime.engines.onnx_file import read_manifest
from cinemae.runtime.verdict import Decision
from cinemae.train.fitting.platt import calibrate_probability
from cinemae.train.fitting.source_scores import SourceScores

TRAINED_ON = "stable_diffusion_v_1_5"
OUT = Path(__file__).parent / "results"


def read_scores(records: Path) -> SourceScores:
    """Logits, labels and sources of the scored records of cinemae-run."""
    rows = []
    for line in records.read_text("utf-8").splitlines():
        record = json.loads(line)
        if record["status"] == "ok":
            source, _, label, _ = Path(record["path"]).parts[-4:]
            rows.append((record["logit"], int(label == "ai"), source))
    logits, labels, sources = zip(*rows, strict=True)
    return SourceScores(np.array(logits, np.float32), np.array(labels), np.array(sources))


def subset(scores: SourceScores, chosen: np.ndarray) -> SourceScores:
    """The images where `chosen`, bool [n], holds."""
    return SourceScores(scores.logits[chosen], scores.labels[chosen], scores.sources[chosen])


def verdicts(scores: SourceScores, calibration: Calibration) -> dict[str, dict[str, int]]:
    """Counts of the verdicts by class."""
    decision = Decision.of(calibration)
    counts = {}
    for label, name in ((0, "real"), (1, "ai")):
        own = Counter(decision.verdict(float(logit)) for logit in scores.logits[scores.labels == label])
        counts[name] = {verdict: own[verdict] for verdict in ("ai", "uncertain", "real")}
    return counts


def leave_one_out(scores: SourceScores) -> dict[str, dict[str, int]]:
    """Verdicts on each source with thresholds from all others, added up by class."""
    total = {name: Counter({"ai": 0, "uncertain": 0, "real": 0}) for name in ("real", "ai")}
    for label, name in ((0, "real"), (1, "ai")):
        for source in np.unique(scores.sources[scores.labels == label]):
            out = (scores.labels == label) & (scores.sources == source)
            calibration = calibrate_probability(subset(scores, ~out), "all other sources")
            total[name].update(verdicts(subset(scores, out), calibration)[name])
    return {name: dict(counts) for name, counts in total.items()}


def table(rows: dict[str, dict[str, dict[str, int]]]) -> str:
    """Markdown: one line for each set of images and class."""
    lines = ["| images | class | number | called ai | uncertain | called real |", "|---|---|---:|---:|---:|---:|"]
    for title, counts in rows.items():
        for name, c in counts.items():
            n = sum(c.values())
            shares = " | ".join(f"{c[v] / n:.1%}" for v in ("ai", "uncertain", "real"))
            lines.append(f"| {title} | {name} | {n:,} | {shares} |")
    return "\n".join(lines)


def main() -> None:
    """Print and write the figures; with --write change the engine."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("records", type=Path)
    parser.add_argument("--engine", type=Path, default=Path("models/cinemae-demo.onnx"))
    parser.add_argument("--report-only", nargs="*", default=["glid3_xl", "stylegan2"])
    parser.add_argument("--write", action="store_true", help="store the calibration in the engine")
    options = parser.parse_args()
    scores = read_scores(options.records)
    reported, trained = np.isin(scores.sources, options.report_only), scores.sources == TRAINED_ON
    unseen = subset(scores, ~reported & ~trained)
    sources = {name: len(np.unique(unseen.sources[unseen.labels == label])) for label, name in ((1, "AI"), (0, "real"))}
    where = (f"{len(unseen.logits):,} images of {sources['AI']} AI and {sources['real']} real sources "
             "that the head has not seen")  # fmt: skip
    calibration = calibrate_probability(unseen, where)
    rows = {
        "left out, source by source": leave_one_out(unseen),
        f"reported only: {', '.join(options.report_only)}": verdicts(subset(scores, reported), calibration),
        f"training generator, held-out split: {TRAINED_ON}": verdicts(subset(scores, trained), calibration),
    }
    text = table(rows)
    print(text)
    OUT.mkdir(exist_ok=True)
    figures = {"calibration": calibration.model_dump(), "verdicts": rows}
    write_text(OUT / "bundled-thresholds.json", json.dumps(figures, indent=1) + "\n")
    write_text(OUT / "bundled-thresholds.md", f"# Verdicts of the bundled engine\n\n{where.capitalize()}.\n\n{text}\n")
    if options.write:
        manifest = read_manifest(options.engine).model_copy(update={"calibration": calibration})
        write_graph(onnx.load(options.engine), manifest, options.engine)
        print(f"wrote {options.engine}")


if __name__ == "__main__":
    main()
