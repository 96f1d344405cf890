"""What further mask sets bring to a head: AUC on sources left out, fitted with 1, 2, 3 and 4 sets of the same cache.

    cinemae-train extract DATA --backbone WEIGHTS --cache CACHE --mask-sets 4
    python benchmarks/mask_sets.py CACHE [--seeds 3]

Heads draw one of their sets for each image in each epoch and are scored under the first set, the deployed one. Every
source of split `train` is scored by a head fitted without it, in the folds of `fit`. A source's AUC is that of its AI
images against all real images, the mean over the seeds. The interval is the 2.5th to 97.5th percentile of the mean over
sources, AI and real sources resampled, of the difference from one set. Prints a table in Markdown.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from cinemae.runtime.core.manifest import HeadConfig
from cinemae.train.calibration.scores import Scores
from cinemae.train.features.cache import FeatureCache, open_cache
from cinemae.train.features.sample_list import SAMPLES_FILE, read_recorded
from cinemae.train.fitting.examples import Examples, read_examples, training_rows
from cinemae.train.fitting.fit_config import FitConfig
from cinemae.train.fitting.out_of_fold import left_out_scores
from sklearn.metrics import roc_auc_score

RESAMPLES = 10_000
RECIPES = {
    "the bundled engine's": (
        FitConfig(lr=3e-4, epochs=12, batch_size=64, weight_decay=1, balance_sources=True, standardize_global=True),
        HeadConfig(fusion="early_concat"),
    ),
    "the paper's, batch 256 at rate 1e-3": (FitConfig(batch_size=256, lr=1e-3), HeadConfig()),
}


def pairs(scores: Scores) -> tuple[np.ndarray, np.ndarray]:
    """AUC of each AI source against each real source, [AI, real]; images of each real source, [real]."""
    ai, real = scores.by_source(1), scores.by_source(0)
    matrix = [[roc_auc_score(np.r_[np.ones(len(a)), np.zeros(len(r))], np.r_[a, r]) for r in real.values()]
              for a in ai.values()]
    return np.array(matrix), np.array([len(r) for r in real.values()])


def interval(difference: np.ndarray, counts: np.ndarray) -> tuple[float, float]:
    """Percentiles of the mean difference, [AI, real], over resampled sources; real sources weigh by their images."""
    rng, values = np.random.default_rng(0), []
    n_ai, n_real = difference.shape
    for _ in range(RESAMPLES):
        real = rng.integers(n_real, size=n_real)
        against = np.average(difference[:, real], axis=1, weights=counts[real])
        values.append(against[rng.integers(n_ai, size=n_ai)].mean())
    low, high = np.percentile(values, [2.5, 97.5])
    return float(low), float(high)


def left_out(whole: Examples, rows: np.ndarray, cache: FeatureCache, config: FitConfig, head: HeadConfig) -> Scores:
    """Scores of all examples, of the cache's `rows`, each by a head fitted without its source."""
    held = np.isin(rows, training_rows(cache, config)[1])
    scores = left_out_scores(whole.take(~held), whole.take(held), head, config, quiet=True)
    assert scores is not None
    return scores


def main() -> None:
    """Fit, score, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cache", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(1)
    folder = open_cache(options.cache).folder
    cache = FeatureCache(folder, read_recorded(folder / SAMPLES_FILE))
    rows = cache.select(split="train")
    (whole,) = read_examples(cache, rows, cache.spec.method())
    print("| recipe | mask sets | mean AUC of the sources left out | change from one set |\n|---|---:|---:|---|")
    for recipe, (config, head) in RECIPES.items():
        one: np.ndarray | None = None
        for count in range(1, whole.stats.shape[1] + 1):
            part, found = replace(whole, stats=whole.stats[:, :count]), []
            for seed in range(options.seeds):
                matrix, counts = pairs(left_out(part, rows, cache, replace(config, seed=seed), head))
                found.append(matrix)
            matrix = np.mean(found, axis=0)
            mean = np.average(matrix, axis=1, weights=counts).mean()
            one = matrix if one is None else one
            changed = np.average(matrix - one, axis=1, weights=counts).mean()
            low, high = interval(matrix - one, counts)
            change = f"{changed:+.4f} ({low:+.4f} to {high:+.4f})" if count > 1 else ""
            print(f"| {recipe} | {count} | {mean:.4f} | {change} |", flush=True)


if __name__ == "__main__":
    main()
