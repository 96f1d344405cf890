"""Figures of a checkpoint on sources that its head has not seen, beside controls and an earlier engine.

    cinemae-train extract LIST --backbone WEIGHTS --cache CACHE --mask-sets 1 --f-global mean
    cinemae-train extract LIST --backbone WEIGHTS --cache CACHE --mask-sets 1 --f-global mean --augment balanced
    cinemae-train fit --cache CACHE --augment none --out CHECKPOINT ...
    cinemae-run IMAGES --engine EARLIER.onnx --out earlier.jsonl
    python benchmarks/left_out_sources.py CHECKPOINT CACHE --earlier earlier.jsonl

Every AI and real source of split `train` is scored by heads and probes fitted without it, in the folds of `fit`; split
`test` by heads fitted on all of `train`. AUC of a source's AI images against all real images of its split, with a
bootstrap interval. The verdicts use thresholds from all other sources. Clean, and format-balanced: every image cut to
the same size and written as the same JPEG. Writes benchmarks/results/left-out-sources.md and .json.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from cinemae.runtime.core.calibration import Calibration
from cinemae.runtime.core.errors import ImageError
from cinemae.runtime.core.files import write_text
from cinemae.runtime.core.manifest import HeadConfig
from cinemae.runtime.images.decode import decode
from cinemae.runtime.images.preprocess import resize_crop
from cinemae.runtime.scoring.record import from_dict
from cinemae.runtime.scoring.verdict import Decision
from cinemae.train.audit.lowlevel import blockiness, luminance, spectrum
from cinemae.train.audit.probe import transfer
from cinemae.train.calibration.calibrate import calibrate
from cinemae.train.calibration.rates import Rates
from cinemae.train.calibration.scores import Scores
from cinemae.train.data.transforms import TRANSFORMS
from cinemae.train.features.cache import FeatureCache, open_cache
from cinemae.train.features.sample_list import SAMPLES_FILE, read_recorded
from cinemae.train.fitting.checkpoint import LoadedHead, load_head
from cinemae.train.fitting.checkpoint_folder import read_metrics
from cinemae.train.fitting.examples import read_examples, training_rows
from cinemae.train.fitting.fit_config import FitConfig
from cinemae.train.fitting.head_training import train_head
from cinemae.train.fitting.out_of_fold import left_out_scores, out_of_fold, source_folds
from cinemae.train.reporting.tables import MISSING, Table
from PIL import Image
from sklearn.metrics import roc_auc_score

OUT = Path(__file__).parent / "results"
RESAMPLES = 200
Columns = dict[str, np.ndarray]
"""Logits of every variant for the same rows."""


def low_level(cache: FeatureCache, rows: np.ndarray) -> Columns:
    """JPEG-grid and spectrum features of the rows' files, as the cache's augmentation presents them; NaN if gone."""
    spec = cache.spec
    transform = TRANSFORMS[spec.augment]

    def read(index: int) -> tuple[np.ndarray, np.ndarray]:
        try:
            image = transform(decode(cache.rows[index].path), np.random.default_rng(0))
        except ImageError:
            return np.full(79, np.nan), np.full(32, np.nan)
        return blockiness(luminance(image)), spectrum(luminance(Image.fromarray(resize_crop(image, spec.preprocess))))

    with ThreadPoolExecutor(2) as pool:
        jpeg, rings = zip(*pool.map(read, rows), strict=True)
    return {"JPEG probe": np.stack(jpeg), "spectrum probe": np.stack(rings)}


def recipe(loaded: LoadedHead) -> FitConfig:
    """The configuration that the checkpoint was fitted with."""
    stored = read_metrics(loaded.folder)["fit"]["config"]
    return FitConfig(**{**stored, "generators": tuple(stored["generators"]), "rates": Rates(**stored["rates"])})


def all_logits(loaded: LoadedHead, cache: FeatureCache) -> tuple[np.ndarray, np.ndarray, Columns]:
    """Rows of split train, out of fold, then of split test: row indices, whether test, logits of every variant."""
    config, method = recipe(loaded), loaded.manifest.method
    rows, held = training_rows(cache, config)
    test = cache.select(split="test")
    order = np.concatenate([rows, held])
    everything = np.concatenate([order, test])
    columns: Columns = {}
    new = {"this engine": loaded.manifest.head, "f_global alone": HeadConfig(statistics=())}
    parts = [read_examples(cache, chosen, method)[0] for chosen in (rows, held, test)]
    for name, head_config in new.items():
        head = train_head(parts[0], parts[1], config, head_config, quiet=True).head
        scores = left_out_scores(parts[0], parts[1], head_config, config, quiet=True)
        assert scores is not None
        columns[name] = np.concatenate([scores.logits, parts[2].logits(head)])
        print(f"{name}: scored", flush=True)
    labels = cache.labels(order)
    folds = source_folds(labels, np.array([cache.rows[i].generator for i in order]))
    assert folds is not None
    for name, seen in low_level(cache, everything).items():
        left, tested = seen[: len(order)], seen[len(order) :]

        def probe(fitted: np.ndarray, scored: np.ndarray, left: np.ndarray = left) -> np.ndarray:
            return transfer(left[fitted], labels[fitted], left[scored])

        columns[name] = np.concatenate([
            out_of_fold(folds, probe), transfer(left, labels, tested)])
    return everything, np.arange(len(everything)) >= len(order), columns


def earlier_logits(records: Path, cache: FeatureCache, rows: np.ndarray) -> np.ndarray:
    """Logits of an earlier engine by path, NaN where it was trained on the image or did not score it."""
    found = {}
    for line in records.read_text("utf-8").splitlines():
        record = from_dict(json.loads(line))
        if record.status == "ok":
            found[record.path] = record.logit
    return np.array([found.get(cache.rows[i].path, np.nan) for i in rows], np.float32)


def auc_table(labels: np.ndarray, sources: np.ndarray, test: np.ndarray, columns: Columns) -> list[list[str]]:
    """One row a source of AI images: AUC and interval of every variant against all real images of its split."""
    rng = np.random.default_rng(0)
    rows: list[list[str]] = []
    means: dict[str, list[float]] = {name: [] for name in columns}
    for split in (False, True):
        real = np.flatnonzero((labels == 0) & (test == split))
        for source in np.unique(sources[(labels == 1) & (test == split)]):
            ai = np.flatnonzero((labels == 1) & (test == split) & (sources == source))
            against = real[sources[real] == source] if split else real  # those come with their own
            row = [f"{source}{' (reported only)' if split else ''}", f"{len(ai):,} / {len(against):,}"]
            for name, logits in columns.items():
                a, r = (logits[part][np.isfinite(logits[part])] for part in (ai, against))
                if not len(a) or not len(r):
                    row.append(MISSING)
                    continue
                low, high = interval(a, r, rng)
                value = auc(a, r)
                row.append(f"{value:.3f} ({low:.3f} to {high:.3f})")
                if not split:
                    means[name].append(value)
            rows.append(row)
    rows.append(["mean of the sources left out", "", *(f"{np.mean(values):.3f}" for values in means.values())])
    return rows


def auc(ai: np.ndarray, real: np.ndarray) -> float:
    """Area under the ROC curve."""
    return float(roc_auc_score(np.r_[np.ones(len(ai)), np.zeros(len(real))], np.r_[ai, real]))


def interval(ai: np.ndarray, real: np.ndarray, rng: np.random.Generator) -> tuple[float, float]:
    """95 % bootstrap interval of the AUC, each class resampled; one generator draws for the whole table."""
    values = [auc(rng.choice(ai, len(ai)), rng.choice(real, len(real))) for _ in range(RESAMPLES)]
    low, high = np.percentile(values, [2.5, 97.5])
    return float(low), float(high)


def verdicts(scores: Scores, calibration: Calibration) -> dict[str, Counter[str]]:
    """Counts of the verdicts by class."""
    decision = Decision.of(calibration)
    return {name: Counter(decision.verdict(float(logit)) for logit in scores.logits[scores.labels == label])
            for label, name in ((0, "real"), (1, "AI"))}


def leave_one_out(scores: Scores, config: FitConfig) -> tuple[dict[str, Counter[str]], list[list[str]]]:
    """Verdicts on each source with thresholds from all others: added up by class, and the worst sources."""
    total: dict[str, Counter[str]] = {"real": Counter(), "AI": Counter()}
    wrong = []
    for label, name in ((0, "real"), (1, "AI")):
        for source in np.unique(scores.sources[scores.labels == label]):
            out = (scores.labels == label) & (scores.sources == source)
            others = calibrate(scores.take(~out), "all others", config.rates)
            counts = verdicts(scores.take(out), others)[name]
            total[name] += counts
            error = counts["ai" if label == 0 else "real"]
            wrong.append((error / out.sum(), [str(source), name, f"{error} of {out.sum():,}"]))
    return total, [row for _, row in sorted(wrong, key=lambda pair: -pair[0])[:5]]


def share_rows(title: str, counts: dict[str, Counter[str]]) -> list[list[str]]:
    """Rows of the verdict table."""
    rows = []
    for name, own in counts.items():
        n = sum(own.values())
        rows.append([title, name, f"{n:,}", *(f"{own[v]:,} ({own[v] / n:.1%})" for v in ("ai", "uncertain", "real"))])
    return rows


def section(title: str, variants: Sequence[str], found: dict[str, list[list[str]]]) -> list[str]:
    """The three tables of one set of files, in Markdown."""
    columns = {
        "auc": ("AUC", ["AI source", "AI / real", *variants]),
        "verdicts": ("Verdicts", ["images", "class", "number", "called ai", "uncertain", "called real"]),
        "worst": ("The worst sources left out", ["source", "class", "called wrongly"]),
    }
    return [
        Table(key, f"{what}, {title}", tuple(names), tuple(map(tuple, found[key]))).markdown()
        for key, (what, names) in columns.items()
    ]


def main() -> None:
    """Score, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("cache", type=Path)
    parser.add_argument("--earlier", type=Path, help="records of an earlier engine on the same files")
    options = parser.parse_args()
    torch.set_num_threads(1)
    loaded = load_head(options.checkpoint)
    config = recipe(loaded)
    text = ["# On sources left out\n"]
    figures: dict[str, dict[str, list[list[str]]]] = {}
    for augment in ("none", "balanced"):
        folder = open_cache(options.cache, augment).folder
        cache = FeatureCache(folder, read_recorded(folder / SAMPLES_FILE))
        rows, test, columns = all_logits(loaded, cache)
        if options.earlier and augment == "none":
            columns["the engine before"] = earlier_logits(options.earlier, cache, rows)
        labels, sources = cache.labels(rows), np.array([cache.rows[i].generator for i in rows])
        table = auc_table(labels, sources, test, columns)
        scores = Scores(columns["this engine"], labels, sources)
        total, worst = leave_one_out(scores.take(~test), config)
        everything = calibrate(scores.take(~test), "", config.rates)
        shares = share_rows("left out, source by source", total)
        for source in np.unique(sources[test]):
            chosen = test & (sources == source)
            shares += share_rows(f"{source} (reported only)", verdicts(scores.take(chosen), everything))
        figures[augment] = {"auc": table, "verdicts": shares, "worst": worst}
        text += section("clean" if augment == "none" else "format-balanced", tuple(columns), figures[augment])
    OUT.mkdir(exist_ok=True)
    write_text(OUT / "left-out-sources.md", "\n".join(text))
    write_text(OUT / "left-out-sources.json", json.dumps(figures, indent=1) + "\n")
    print("\n".join(text))


if __name__ == "__main__":
    main()
