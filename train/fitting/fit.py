"""Fit the head on cached features [METHOD.md, Training]: statistics once up front, all in memory."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch
from sklearn.metrics import roc_auc_score
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from ...runtime.errors import UsageError
from ...runtime.manifest import HeadConfig, Manifest, MethodConfig, Training
from ..data.generators import same_generators
from ..features.cache import FeatureCache
from ..model.head import COLUMNS, Head
from ..model.mae import MaskedAutoencoder
from ..progress import Rate
from .checkpoint import remember_checkpoint, save_checkpoint
from .manifest_fields import augment_text, heatmap_range, masks_of, percentile_range, tool_versions
from .platt import calibrate

log = logging.getLogger("cinemae.train")

SCORE_BATCH = 4096


@dataclass(frozen=True)
class FitConfig:
    """Recipe; the defaults are the paper's. `generators`: those to train on, None for all that have `split`.

    `held_out` is the share of training images, chosen by their content, that picks the best epoch and calibrates.
    """

    epochs: int = 25
    lr: float = 1e-4
    batch_size: int = 32
    seed: int = 0
    held_out: float = 0.1
    split: str = "train"
    generators: tuple[str, ...] | None = None
    target_fpr: float = 0.05
    uncertain_share: float = 0.1


@dataclass(frozen=True)
class Examples:
    """What a head trains on: f_global float32 [n, D], stats float32 [n, R, 3], labels float32 [n]."""

    f_global: Tensor
    stats: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)


@dataclass
class FitResult:
    """Head of the best epoch (lowest held-out loss), state of the last, curve of losses and held-out AUC."""

    head: Head
    last: dict[str, Tensor]
    best_epoch: int
    curve: list[dict[str, float]] = field(default_factory=list)


def is_held_out(content: str, share: float, seed: int) -> bool:
    """Whether an image belongs to the held-out share: by its bytes, so copies and augmented views stay together."""
    digest = hashlib.sha256(f"{seed}:{content}".encode()).digest()
    return int.from_bytes(digest[:8], "big") < share * 2**64


def training_rows(cache: FeatureCache, config: FitConfig) -> tuple[np.ndarray, np.ndarray]:
    """Row indices to train on and to hold out, both int64, of the training generators alone.

    Raises:
        UsageError: nothing matches, or a class is missing on either side.
    """
    generators = config.generators
    chosen = cache.select(split=config.split, generators=generators)
    there = {row.generator for row in cache.rows}
    if generators and (unknown := same_generators(generators, there)[1]):
        raise UsageError(f"the cache holds no generator {', '.join(unknown)}; there are: {', '.join(sorted(there))}")
    held = np.array([is_held_out(cache.rows[i].content, config.held_out, config.seed) for i in chosen], dtype=bool)
    for rows, what in ((chosen[~held], "to train on"), (chosen[held], "to hold out")):
        n_ai = int(cache.labels(rows).sum())
        if n_ai in (0, len(rows)):
            splits = ", ".join(sorted({row.split for row in cache.rows}))
            raise UsageError(
                f"split {config.split!r} has {n_ai} AI and {len(rows) - n_ai} real images {what}, both are needed "
                f"(splits in the cache: {splits}; more data, or another --held-out, may help)"
            )
    return chosen[~held], chosen[held]


def examples(cache: FeatureCache, rows: np.ndarray, method: MethodConfig) -> Examples:
    """The chosen rows in memory."""
    f_global, stats = cache.compact(rows, method)
    labels = torch.from_numpy(cache.labels(rows)).float()
    return Examples(torch.from_numpy(f_global), torch.from_numpy(stats), labels)


@torch.inference_mode()
def logits_of(head: Head, f_global: Tensor, stats: Tensor) -> Tensor:
    """float32 [n, D], [n, 3] -> raw logits [n], in slices."""
    slices = zip(f_global.split(SCORE_BATCH), stats.split(SCORE_BATCH), strict=True)
    return torch.cat([head(f, s) for f, s in slices])


def train_head(
    train: Examples, held: Examples, config: FitConfig, head_config: HeadConfig, quiet: bool = False
) -> FitResult:
    """BCE with logits, Adam, constant rate. Each epoch draws one of the R mask sets for every sample anew."""
    torch.manual_seed(config.seed)
    head = Head(train.f_global.shape[1], head_config)
    head.fit_standardisation(train.stats.flatten(0, 1))
    adam = torch.optim.Adam(head.parameters(), lr=config.lr, fused=True)
    generator = torch.Generator().manual_seed(config.seed)
    progress = Rate(config.epochs * len(train), "samples", quiet=quiet)
    result = FitResult(head, {}, 0)
    best, best_loss = deepcopy(head), float("inf")
    for epoch in range(1, config.epochs + 1):
        head.train()
        total = torch.zeros(())
        for f_global, stats, labels in epoch_batches(train, config.batch_size, generator):
            loss = binary_cross_entropy_with_logits(head(f_global, stats), labels)
            adam.zero_grad(set_to_none=True)
            loss.backward()
            adam.step()
            total += loss.detach() * len(labels)
            progress.advance(len(labels), f"epoch {epoch}")
        logits = logits_of(head.eval(), held.f_global, held.stats[:, 0])
        held_loss = float(binary_cross_entropy_with_logits(logits, held.labels))
        auc = float(roc_auc_score(held.labels.numpy(), logits.numpy()))
        result.curve.append(
            {"epoch": epoch, "train_loss": float(total) / len(train), "held_out_loss": held_loss, "held_out_auc": auc}
        )
        if held_loss < best_loss:
            best, best_loss, result.best_epoch = deepcopy(head), held_loss, epoch
    progress.close(f"best epoch {result.best_epoch}, held-out loss {best_loss:.4f}")
    result.head, result.last = best.eval(), head.state_dict()
    return result


def epoch_draws(images: int, mask_sets: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """The order of an epoch's images and the mask set of each image: int64 [n], int64 [n]."""
    order = torch.randperm(images, generator=generator)
    return order, torch.randint(mask_sets, (images,), generator=generator)


def epoch_batches(
    data: Examples, batch_size: int, generator: torch.Generator
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """One shuffled pass: f_global [b, D], the statistics of one drawn mask set [b, 3], labels [b]."""
    order, drawn = epoch_draws(len(data), data.stats.shape[1], generator)
    for rows in order.split(batch_size):
        yield data.f_global[rows], data.stats[rows, drawn[rows]], data.labels[rows]


def fit(
    cache: FeatureCache, out: Path, method: MethodConfig, head_config: HeadConfig, config: FitConfig, *,
    name: str = "cinemae", demonstration: bool = False, embed: MaskedAutoencoder | None = None, quiet: bool = False,
) -> Path:  # fmt: skip
    """Train on a cache, calibrate on the held-out share, write the checkpoint and remember it as the last one.

    Returns:
        the checkpoint's folder.

    Raises:
        UsageError: as `training_rows` and `calibrate`.
    """
    rows, held_rows = training_rows(cache, config)
    train, held = examples(cache, rows, method), examples(cache, held_rows, method)
    result = train_head(train, held, config, head_config, quiet)
    logits = logits_of(result.head, held.f_global, held.stats[:, 0]).numpy()
    generators = tuple(sorted({cache.rows[i].generator for i in rows}))
    calibration = calibrate(
        held.labels.numpy(), logits, fitted_on=held_out_text(generators, len(held)),
        target_fpr=config.target_fpr, uncertain_share=config.uncertain_share,
    )  # fmt: skip
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
    recipe = {"config": asdict(config), "best_epoch": result.best_epoch, "curve": result.curve, "cache": cache.spec.key}
    metrics = {"fit": recipe}
    save_checkpoint(out, result.head, mask_sets, manifest, last=result.last, metrics=metrics, embed=embed)
    remember_checkpoint(out)
    return out


def held_out_text(generators: tuple[str, ...], count: int) -> str:
    """What a calibration says it was fitted on."""
    return f"{count} held-out training images of {', '.join(generators)}"
