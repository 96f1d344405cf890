"""Fit: train the head on a cache, calibrate it on images that it has not seen, and write the checkpoint."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path

import torch
from sklearn.metrics import roc_auc_score

from ...runtime.core.manifest import HeadConfig, Manifest, MethodConfig, Training
from ..calibration.calibrate import calibrate
from ..features.cache import FeatureCache
from ..model.head import COLUMNS
from ..model.mae import MaskedAutoencoder
from .checkpoint import save_checkpoint
from .examples import Examples, read_examples, training_rows
from .fit_config import FitConfig
from .head_training import train_head
from .manifest_fields import augment_text, heatmap_range, masks_of, percentile_range, tool_versions
from .out_of_fold import calibration_scores


def fit(
    cache: FeatureCache, out: Path, method: MethodConfig, head_config: HeadConfig, config: FitConfig, *,
    name: str = "cinemae", demonstration: bool = False, embed: MaskedAutoencoder | None = None, quiet: bool = False,
) -> Path:
    """Train on a cache, calibrate on the held-out share, and write the checkpoint.

    Args:
        cache: features of the samples, opened with their recorded list.
        out: folder of the checkpoint, which is returned.
        method: constants of LCAS; its K may be smaller than the cache's.
        head_config: shape of the head.
        config: recipe.
        name: in the manifest.
        demonstration: mark the checkpoint as a demonstration.
        embed: backbone to store inside the checkpoint.
        quiet: show no progress.

    Raises:
        UsageError: as `training_rows` and `calibrate`.
    """
    rows, held_rows = training_rows(cache, config)
    train, held = (read_examples(cache, chosen, method)[0] for chosen in (rows, held_rows))
    result = train_head(train, held, config, head_config, quiet)
    generators = tuple(sorted(set(train.sources.tolist())))
    scores, where = calibration_scores(train, held, result.head, config, quiet)
    calibration = calibrate(scores, where, config.rates, cache.spec.lowest_quality)
    ranges = {name: percentile_range(train.deployed[:, i].numpy()) for name, i in COLUMNS.items()}
    images, held_images = (part.take(part.first_views) for part in (train, held))
    note = result.recipe
    if cache.spec.backbone.global_encoder:
        note += f"; {carrying(train, held_images, config, head_config)}"
    n_ai = int(images.labels.sum())
    training = Training(
        data=f"split {config.split} of {', '.join(generators)}", generators=generators, n_ai=n_ai,
        n_real=len(images) - n_ai, augment=augment_text(cache.spec), epochs=result.best_epoch, seed=config.seed,
        note=note,
    )
    auc = float(roc_auc_score(held_images.labels.numpy(), held_images.logits(result.head)))
    held_out = {"auc": auc, "images": float(len(held_images))}
    mask_sets = cache.spec.mask_sets()[:, : method.k]
    manifest = Manifest(
        name=name, kind="checkpoint", demonstration=demonstration, method=method, head=head_config,
        preprocess=cache.spec.preprocess, backbone=cache.spec.backbone, masks=masks_of(mask_sets[0]),
        calibration=calibration, stat_ranges=ranges, heatmap_range=heatmap_range(cache, rows, method),
        training=training, metrics={"held_out": held_out}, licence=cache.spec.backbone.joint_licence,
        tools=tool_versions(),
    )
    recipe = {"config": asdict(config), "best_epoch": result.best_epoch, "curve": result.curve, "cache": cache.spec.key}
    save_checkpoint(out, result.head, mask_sets, manifest, last=result.last, metrics={"fit": recipe}, embed=embed,
                    scores=scores, samples=train.rows + held.rows)
    return out


def carrying(train: Examples, held: Examples, config: FitConfig, head: HeadConfig) -> str:
    """Which branch carries the result, in words: the AUCs on `held` of f_global alone and of the statistics alone."""
    alone = train_head(train, held, config, head.model_copy(update={"statistics": ()}), quiet=True).head
    bare, bare_held = (replace(part, f_global=torch.zeros(len(part), 1)) for part in (train, held))
    statistics = train_head(bare, bare_held, config, HeadConfig(kind="logistic"), quiet=True).head
    first, second = (
        float(roc_auc_score(part.labels.numpy(), part.logits(one)))
        for part, one in ((held, alone), (bare_held, statistics))
    )
    name = "f_global" if first > second else "LCAS"
    return f"held-out AUC of f_global alone {first:.4f}, of LCAS alone {second:.4f}: {name} carries the result"
