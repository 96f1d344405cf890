"""Training of the head on cached features by the paper's recipe [Section 5, Implementation Details]."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass, field

import numpy as np
import torch
from sklearn.metrics import roc_auc_score
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from ...runtime.core.errors import UsageError
from ...runtime.core.manifest import HeadConfig, MethodConfig
from ...runtime.core.progress import Progress
from ..data.generators import same_generators
from ..features.cache import FeatureCache
from ..model.head import Head
from .fit_config import FitConfig

SCORE_BATCH = 4096


@dataclass(frozen=True)
class Examples:
    """Inputs and targets of a head.

    Attributes:
        f_global: float32 [n, D].
        stats: s1, s2, s3 under each of the R mask sets, float32 [n, R, 3].
        labels: 1 AI-generated, 0 real, float32 [n].
        weights: of each example in the loss, 1 on average, float32 [n]; None weighs all alike.
    """

    f_global: Tensor
    stats: Tensor
    labels: Tensor
    weights: Tensor | None = None

    def __len__(self) -> int:
        return len(self.labels)


@dataclass
class FitResult:
    """A trained head.

    Attributes:
        head: of the best epoch, the one with the lowest held-out loss; in eval mode.
        last: state of the head after the last epoch.
        best_epoch: counted from 1.
        curve: one entry an epoch: losses and held-out AUC.
    """

    head: Head
    last: dict[str, Tensor]
    best_epoch: int
    curve: list[dict[str, float]] = field(default_factory=list)


def is_held_out(content: str, share: float, seed: int) -> bool:
    """Whether an image belongs to the held-out share, by its bytes: copies and augmented views stay together.

    Args:
        content: hex SHA-256 of the file.
        share: of images to hold out, in [0, 1].
        seed: another seed holds out other images.
    """
    digest = hashlib.sha256(f"{seed}:{content}".encode()).digest()
    return int.from_bytes(digest[:8], "big") < share * 2**64


def training_rows(cache: FeatureCache, config: FitConfig) -> tuple[np.ndarray, np.ndarray]:
    """Choose the rows to train on and to hold out, of the training generators alone.

    Returns:
        two arrays of row indices, int64.

    Raises:
        UsageError: an unknown generator, no row of the split, or a class is missing on either side.
    """
    generators = config.generators
    chosen = cache.select(split=config.split, generators=generators)
    there = {row.generator for row in cache.rows}
    if generators and (unknown := same_generators(generators, there)[1]):
        raise UsageError(f"the cache holds no generator {', '.join(unknown)}; there are: {', '.join(sorted(there))}")
    there = {row.split for row in cache.rows}
    splits = ", ".join(sorted(there))
    if config.split not in there:
        raise UsageError(
            f"no image of split {config.split!r} was extracted; there are: {splits}. In a list, a column split says "
            "which images are for training (all are test without it); in folders, a folder train does. Extract again "
            "with it, or fit another one with --split"
        )
    held = np.array([is_held_out(cache.rows[i].content, config.held_out, config.seed) for i in chosen], dtype=bool)
    for rows, what in ((chosen[~held], "to train on"), (chosen[held], "to hold out")):
        n_ai = int(cache.labels(rows).sum())
        if n_ai in (0, len(rows)):
            raise UsageError(
                f"split {config.split!r} has {n_ai} AI and {len(rows) - n_ai} real images {what}, both are needed "
                f"(splits in the cache: {splits}; more data, or another --held-out, may help)"
            )
    return chosen[~held], chosen[held]


def examples(cache: FeatureCache, rows: np.ndarray, method: MethodConfig, balance_sources: bool = False) -> Examples:
    """Read the chosen rows into memory, weighted as `FitConfig.balance_sources` says."""
    f_global, stats = cache.compact(rows, method)
    labels = cache.labels(rows)
    weights = None
    if balance_sources:
        weights = torch.from_numpy(source_weights(labels, sources_of(cache, rows)))
    return Examples(torch.from_numpy(f_global), torch.from_numpy(stats), torch.from_numpy(labels).float(), weights)


def sources_of(cache: FeatureCache, rows: np.ndarray) -> np.ndarray:
    """The source of each row, str [n]: its generator's name, which stands for one source in each class."""
    return np.array([cache.rows[i].generator for i in rows])


def source_weights(labels: np.ndarray, sources: np.ndarray) -> np.ndarray:
    """Weights that give both classes, and within a class all its sources, the same total: float32 [n], mean 1."""
    weights = np.empty(len(labels), np.float64)
    for label in (0, 1):
        names = np.unique(sources[labels == label])
        for name in names:
            chosen = (labels == label) & (sources == name)
            weights[chosen] = len(labels) / 2 / len(names) / chosen.sum()
    return weights.astype(np.float32)


@torch.inference_mode()
def logits_of(head: Head, f_global: Tensor, stats: Tensor) -> Tensor:
    """Raw logits, computed in slices: f_global float32 [n, D], stats float32 [n, 3] -> float32 [n]."""
    slices = zip(f_global.split(SCORE_BATCH), stats.split(SCORE_BATCH), strict=True)
    return torch.cat([head(f, s) for f, s in slices])


def train_head(
    train: Examples, held: Examples, config: FitConfig, head_config: HeadConfig, quiet: bool = False
) -> FitResult:
    """Train a head with binary cross-entropy on logits and Adam (AdamW, shrunk) at a constant rate.

    Every epoch draws one of the R mask sets for each sample anew.

    Args:
        train: examples to train on.
        held: examples that select the epoch.
        config: recipe.
        head_config: shape of the head.
        quiet: show no progress.
    """
    torch.manual_seed(config.seed)
    head = Head(train.f_global.shape[1], head_config)
    head.fit_standardisation(train.stats.flatten(0, 1))
    if config.standardize_global:
        head.start_standardised(train.f_global)
    adam = torch.optim.AdamW(head.parameters(), lr=config.lr, weight_decay=config.weight_decay, fused=True)
    generator = torch.Generator().manual_seed(config.seed)
    result = FitResult(head, {}, 0)
    best, best_loss = deepcopy(head), float("inf")
    with Progress("samples", config.epochs * len(train), quiet=quiet) as progress:
        for epoch in range(1, config.epochs + 1):
            head.train()
            total = torch.zeros(())
            for f_global, stats, labels, weights in epoch_batches(train, config.batch_size, generator):
                loss = binary_cross_entropy_with_logits(head(f_global, stats), labels, weights)
                adam.zero_grad(set_to_none=True)
                loss.backward()
                adam.step()
                total += loss.detach() * len(labels)
                progress.advance(len(labels), f"epoch {epoch}")
            logits = logits_of(head.eval(), held.f_global, held.stats[:, 0])
            if not logits.isfinite().all():
                raise UsageError(f"scores are not finite after epoch {epoch}: use a smaller --lr than {config.lr:g}")
            held_loss = float(binary_cross_entropy_with_logits(logits, held.labels, held.weights))
            auc = float(roc_auc_score(held.labels.numpy(), logits.numpy()))
            train_loss = float(total) / len(train)
            result.curve.append(
                {"epoch": epoch, "train_loss": train_loss, "held_out_loss": held_loss, "held_out_auc": auc}
            )
            if held_loss < best_loss:
                best, best_loss, result.best_epoch = deepcopy(head), held_loss, epoch
        progress.note = f"best epoch {result.best_epoch}, held-out loss {best_loss:.4f}"
    result.head, result.last = best.eval(), head.state_dict()
    return result


def epoch_draws(images: int, mask_sets: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """The order of an epoch's images and the mask set of each image: int64 [n], int64 [n]."""
    order = torch.randperm(images, generator=generator)
    return order, torch.randint(mask_sets, (images,), generator=generator)


def epoch_batches(
    data: Examples, batch_size: int, generator: torch.Generator
) -> Iterator[tuple[Tensor, Tensor, Tensor, Tensor | None]]:
    """One shuffled pass: f_global [b, D], the statistics of one drawn mask set [b, 3], labels [b], weights [b]."""
    order, drawn = epoch_draws(len(data), data.stats.shape[1], generator)
    for rows in order.split(batch_size):
        weights = None if data.weights is None else data.weights[rows]
        yield data.f_global[rows], data.stats[rows, drawn[rows]], data.labels[rows], weights
