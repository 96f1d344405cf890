"""Is one checkpoint's mean AUC over some generators really higher than another's? A paired bootstrap over one cache.

    python benchmarks/compare_heads.py CHECKPOINT_A CHECKPOINT_B --cache runs/cache -g glid3_xl -g stylegan2
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from cinemae.train.evaluation.evaluate import score
from cinemae.train.features.cache import open_cache
from cinemae.train.fitting.checkpoint import load_head
from sklearn.metrics import roc_auc_score

RESAMPLES = 1000


def resample(labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Indices drawn with replacement, within each class."""
    return np.concatenate([rng.choice(np.flatnonzero(labels == c), (labels == c).sum()) for c in (0, 1)])


def main() -> None:
    """Parse, score, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoints", nargs=2, type=Path)
    parser.add_argument("--cache", type=Path, default=Path("runs/cache"))
    parser.add_argument("-g", "--generator", action="append", required=True)
    args = parser.parse_args()
    cache = open_cache(args.cache)
    heads = [load_head(folder) for folder in args.checkpoints]
    rng = np.random.default_rng(0)
    means, drawn = np.zeros(2), np.zeros((RESAMPLES, 2))
    for generator in args.generator:
        rows = cache.select(split="val", generators=(generator,))
        scored = [score(head, cache, rows) for head in heads]
        labels = scored[0].labels
        means += [roc_auc_score(labels, s.logits) for s in scored]
        for i in range(RESAMPLES):
            at = resample(labels, rng)
            drawn[i] += [roc_auc_score(labels[at], s.logits[at]) for s in scored]
    means, drawn = means / len(args.generator), drawn / len(args.generator)
    columns = (*((str(f), means[i], drawn[:, i]) for i, f in enumerate(args.checkpoints)),
               ("difference", means[1] - means[0], drawn[:, 1] - drawn[:, 0]))
    print(f"mean AUC over {', '.join(args.generator)}; 95 % intervals of {RESAMPLES} paired resamples")
    for name, value, samples in columns:
        low, high = np.percentile(samples, [2.5, 97.5])
        print(f"{name:<24} {value:+.3f}  {low:+.3f} to {high:+.3f}")


if __name__ == "__main__":
    main()
