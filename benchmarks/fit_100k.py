"""Time `fit` on a synthetic cache of 100,000 images with the features of ViT-L (D = 1024), read from disk.

    python benchmarks/fit_100k.py --out benchmarks/fit-100k.md

The cache is written once under --folder (4.8 GB with the default four mask sets of K = 2) and holds Gaussian features
in which both classes differ a little. What is timed is all of `fit`: opening the cache, statistics from the sums, 25
epochs, calibration, ranges, writing the checkpoint.
"""

from __future__ import annotations

import argparse
import os
import platform
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from cinemae.runtime.core.files import write_text
from cinemae.runtime.core.manifest import Backbone, HeadConfig, MethodConfig, Preprocess
from cinemae.train.data.sample import Sample
from cinemae.train.features.cache import FeatureCache
from cinemae.train.features.cache_spec import CacheSpec
from cinemae.train.features.cache_writer import CacheWriter
from cinemae.train.fitting.checkpoint_folder import read_manifest
from cinemae.train.fitting.fit import fit
from cinemae.train.fitting.fit_config import FitConfig
from cinemae.train.model.presets import PRESETS

SHARD_ROWS = 1000
SIGNAL_DIMS, SIGNAL = 32, 0.2
"""Both classes differ by this much in so many of the 1024 features: an AUC of about 0.79 is there to be found."""


def fill(folder: Path, images: int, mask_sets: int) -> FeatureCache:
    """A cache of `images` rows; what is there already stays."""
    config = PRESETS["vit_large_patch16"]
    info = Backbone(config=config, source="synthetic features", sha256="0" * 64, licence="none")
    method = MethodConfig(mask_sets=mask_sets)
    spec = CacheSpec.create(info, Preprocess(), method)
    writer = CacheWriter(folder, spec, SHARD_ROWS, shard_seconds=1e9)
    present = len(FeatureCache(writer.folder))
    rng = np.random.default_rng(present)
    masked = config.n_patches - config.n_visible
    sums = rng.uniform(1, 5, (mask_sets, method.k, masked, 3, 3)).astype(np.float32)
    context = np.full((mask_sets, method.k, 2, 2), 0.5, np.float32)
    for i in range(present, images):
        label = i % 2
        features = rng.normal(size=config.encoder_dim).astype(np.float32)
        features[:SIGNAL_DIMS] += SIGNAL * label
        row = Sample(f"/synthetic/{i}", label, "synthetic", "train", f"{i:064x}")
        writer.add(row, features, sums * np.float32(rng.uniform(0.5, 1.5)), context)
    writer.flush()
    return FeatureCache(writer.folder)


def main() -> None:
    """Fill, fit, report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=100_000)
    parser.add_argument("--mask-sets", type=int, default=4)
    parser.add_argument("--batch-size", type=int, default=1024)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "cinemae-fit-100k")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    fill(options.folder, options.images, options.mask_sets)
    method = MethodConfig(mask_sets=options.mask_sets)
    wall, processor = time.perf_counter(), time.process_time()
    (folder,) = options.folder.glob("*/cache.json")
    cache = FeatureCache(folder.parent)
    config = FitConfig(batch_size=options.batch_size, held_out=0.05)
    done = fit(cache, options.folder / "checkpoint", method, HeadConfig(), config, name="fit-100k")
    wall, processor = time.perf_counter() - wall, time.process_time() - processor
    load = os.getloadavg()[1]
    auc = read_manifest(done).metrics["held_out"]["auc"]
    figures = (f"{len(cache):,}", options.mask_sets, options.batch_size, config.epochs, options.threads,
               f"{wall:.0f} s", f"{processor:.0f} s", f"{load:.1f}", f"{auc:.3f}")
    titles = ("images", "mask sets", "batch", "epochs", "threads", "wall", "processor time", "load average", "AUC")
    lines = [" | ".join(map(str, line)) for line in (titles, ["---"] * len(titles), figures)]
    text = "".join(f"| {line} |\n" for line in lines)
    head = (
        "# Fitting 100,000 cached images (D = 1024)\n\nMade by `python benchmarks/fit_100k.py` "
        f"on {platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__.partition('+')[0]}.\n\n"
    )
    print(head + text)
    if options.out:
        write_text(options.out, head + text)


if __name__ == "__main__":
    main()
