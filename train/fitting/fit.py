"""Fit: train the head on a cache, calibrate it on images it has not seen, and write the checkpoint."""

from __future__ import annotations

import logging
from dataclasses import asdict
from pathlib import Path

import numpy as np

from ...runtime.manifest import HeadConfig, Manifest, MethodConfig, Training
from ..features.cache import FeatureCache
from ..features.sample_list import keep_samples
from ..model.head import COLUMNS, Head
from ..model.mae import MaskedAutoencoder
from .checkpoint import remember_checkpoint, save_checkpoint
from .folds import out_of_fold, source_folds
from .head_training import FitConfig, examples, logits_of, sources_of, train_head, training_rows
from .manifest_fields import augment_text, heatmap_range, masks_of, percentile_range, tool_versions
from .platt import calibrate_probability
from .source_scores import SourceScores

log = logging.getLogger("cinemae.train")


def held_out_scores(
    cache: FeatureCache, rows: np.ndarray, held_rows: np.ndarray, method: MethodConfig, head_config: HeadConfig,
    config: FitConfig, head: Head, quiet: bool = False,
) -> tuple[SourceScores, str]:  # fmt: skip
    """Logits of images that the scoring head has not seen, for the calibration, and what they are, in words.

    With several sources in both classes, every source is left out once and all images are scored (`folds`). With a
    single source in a class none can be left out: the held-out images are scored by `head` itself, and the rates hold
    for images of the same sources only.
    """
    everything = np.concatenate([rows, held_rows])
    labels, sources = cache.labels(everything), sources_of(cache, everything)
    folds = source_folds(labels, sources)
    if folds is None:
        held = examples(cache, held_rows, method)
        logits = logits_of(head, held.f_global, held.stats[:, 0]).numpy()
        where = f"{len(held_rows):,} held-out images of the sources trained on; other sources were not measured"
        return SourceScores(logits, cache.labels(held_rows), sources_of(cache, held_rows)), where
    is_held = np.arange(len(everything)) >= len(rows)

    def score(fitted: np.ndarray, scored: np.ndarray) -> np.ndarray:
        parts = [examples(cache, everything[chosen], method, config.balance_sources)
                 for chosen in (fitted & ~is_held, fitted & is_held, scored)]  # fmt: skip
        found = train_head(parts[0], parts[1], config, head_config, quiet)
        return logits_of(found.head, parts[2].f_global, parts[2].stats[:, 0]).numpy()

    counts = [len(np.unique(sources[labels == label])) for label in (1, 0)]
    where = (f"{len(everything):,} images of {counts[0]} AI and {counts[1]} real sources, each source scored by a head "
             "fitted without it")  # fmt: skip
    return out_of_fold(labels, sources, folds, score), where


def fit(
    cache: FeatureCache, out: Path, method: MethodConfig, head_config: HeadConfig, config: FitConfig, *,
    name: str = "cinemae", demonstration: bool = False, embed: MaskedAutoencoder | None = None, quiet: bool = False,
) -> Path:  # fmt: skip
    """Train on a cache, calibrate on the held-out share, write the checkpoint and record it as the last one.

    Args:
        cache: features of the samples, opened with their recorded list.
        out: folder of the checkpoint.
        method: constants of LCAS; its K may be smaller than the cache's.
        head_config: shape of the head.
        config: recipe.
        name: in the manifest.
        demonstration: mark the checkpoint as a demonstration.
        embed: backbone to store inside the checkpoint.
        quiet: show no progress.

    Returns:
        the checkpoint's folder.

    Raises:
        UsageError: as `training_rows` and `calibrate_probability`.
    """
    rows, held_rows = training_rows(cache, config)
    train, held = (examples(cache, chosen, method, config.balance_sources) for chosen in (rows, held_rows))
    result = train_head(train, held, config, head_config, quiet)
    generators = tuple(sorted({cache.rows[i].generator for i in rows}))
    scores, where = held_out_scores(cache, rows, held_rows, method, head_config, config, result.head, quiet)
    calibration = calibrate_probability(scores, where, config.false_alarm, config.miss)
    ranges = {name: percentile_range(train.stats[:, 0, i].numpy()) for name, i in COLUMNS.items()}
    n_ai = int(train.labels.sum())
    training = Training(
        data=f"split {config.split} of {', '.join(generators)}", generators=generators, n_ai=n_ai,
        n_real=len(train) - n_ai, augment=augment_text(cache.spec), epochs=result.best_epoch, seed=config.seed,
        note=f"best of {config.epochs} epochs by held-out loss; batch {config.batch_size}, Adam, lr {config.lr:g}",
    )  # fmt: skip
    held_out = {"auc": result.curve[result.best_epoch - 1]["held_out_auc"], "images": float(len(held))}
    mask_sets = cache.spec.mask_sets()[:, : method.k]
    manifest = Manifest(
        name=name, kind="checkpoint", demonstration=demonstration, method=method, head=head_config,
        preprocess=cache.spec.preprocess, backbone=cache.spec.backbone, masks=masks_of(mask_sets[0]),
        calibration=calibration, stat_ranges=ranges, heatmap_range=heatmap_range(cache, rows, method),
        training=training, metrics={"held_out": held_out}, tools=tool_versions(),
    )  # fmt: skip
    digest = keep_samples(cache.folder, (cache.rows[i].sample for i in (*rows, *held_rows)))
    recipe = {"config": asdict(config), "best_epoch": result.best_epoch, "curve": result.curve,
              "cache": cache.spec.key, "samples": digest}  # fmt: skip
    metrics = {"fit": recipe}
    save_checkpoint(out, result.head, mask_sets, manifest, last=result.last, metrics=metrics, embed=embed,
                    scores=scores)  # fmt: skip
    remember_checkpoint(out)
    return out

