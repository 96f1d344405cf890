"""Training of a head on cached features: by the paper's recipe [Section 5, Implementation Details], or logistic."""

from __future__ import annotations

import math
from copy import deepcopy
from dataclasses import dataclass, field

import torch
from sklearn.metrics import roc_auc_score
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from ...runtime.core.errors import UsageError
from ...runtime.core.manifest import HeadConfig
from ...runtime.core.progress import Progress
from ..model.head import Head
from .examples import Examples, logits_of, source_weights
from .fit_config import FitConfig
from .logistic import PENALTY, fit_logistic


@dataclass
class FitResult:
    """A trained head.

    Attributes:
        head: of the best epoch, the one with the lowest held-out loss; in eval mode.
        last: state of the head after the last epoch.
        best_epoch: counted from 1; 0: a logistic head, which has no epochs.
        recipe: how it was trained, in words.
        curve: one entry an epoch, or one: losses and held-out AUC.
    """

    head: Head
    last: dict[str, Tensor]
    best_epoch: int
    recipe: str
    curve: list[dict[str, float]] = field(default_factory=list)


def train_head(
    train: Examples, held: Examples, config: FitConfig, head_config: HeadConfig, quiet: bool = False
) -> FitResult:
    """Train a head with binary cross-entropy on logits and Adam (AdamW, shrunk) at a constant rate.

    Every epoch draws one of the R mask sets for each image anew. A logistic head is fitted by `fit_logistic` instead.

    Args:
        train: examples to train on.
        held: examples that select the epoch.
        config: recipe.
        head_config: shape of the head.
        quiet: show no progress.

    Raises:
        UsageError: the scores are not finite after an epoch.
    """
    weights, held_weights = (_loss_weights(part, config) for part in (train, held))
    if head_config.kind == "logistic":
        head = fit_logistic(train, weights, head_config)
        logits = logits_of(head, train.f_global, train.deployed)
        train_loss = float(binary_cross_entropy_with_logits(logits, train.labels, weights))
        recipe = f"logistic regression on standardised features, C {PENALTY:g}{config.balanced}"
        return FitResult(head, head.state_dict(), 0, recipe, [_point(0, train_loss, head, held, held_weights)])
    torch.manual_seed(config.seed)
    head = Head(train.f_global.shape[1], head_config)
    head.fit_standardisation(train.stats.flatten(0, 1))
    if config.standardize_global:
        head.start_standardised(train.f_global)
    adam = torch.optim.AdamW(head.parameters(), lr=config.lr, weight_decay=config.weight_decay, fused=True)
    generator = torch.Generator().manual_seed(config.seed)
    result = FitResult(head, {}, 0, f"best of {config.epochs} epochs by held-out loss; {config.optimisation()}")
    best, best_loss = deepcopy(head), float("inf")
    with Progress("samples", config.epochs * len(train), quiet=quiet) as progress:
        for epoch in range(1, config.epochs + 1):
            head.train()
            total = torch.zeros(())
            order, drawn = epoch_draws(len(train), train.stats.shape[1], generator)
            for at in order.split(config.batch_size):
                logits = head(train.f_global[at], train.stats[at, drawn[at]])
                weight = None if weights is None else weights[at]
                loss = binary_cross_entropy_with_logits(logits, train.labels[at], weight)
                adam.zero_grad(set_to_none=True)
                loss.backward()
                adam.step()
                total += loss.detach() * len(at)
                progress.advance(len(at), f"epoch {epoch}")
            point = _point(epoch, float(total) / len(train), head.eval(), held, held_weights)
            if not math.isfinite(point["held_out_loss"]):
                raise UsageError(f"scores are not finite after epoch {epoch}: use a smaller --lr than {config.lr:g}")
            result.curve.append(point)
            if point["held_out_loss"] < best_loss:
                best, best_loss, result.best_epoch = deepcopy(head), point["held_out_loss"], epoch
        progress.note = f"best epoch {result.best_epoch}, held-out loss {best_loss:.4f}"
    result.head, result.last = best.eval(), head.state_dict()
    return result


def _point(epoch: int, train_loss: float, head: Head, held: Examples, weights: Tensor | None) -> dict[str, float]:
    """An entry of the curve; loss and AUC of the held-out images are NaN where a score is not finite."""
    logits = logits_of(head, held.f_global, held.deployed)
    loss, auc = math.nan, math.nan
    if logits.isfinite().all():
        loss = float(binary_cross_entropy_with_logits(logits, held.labels, weights))
        auc = float(roc_auc_score(held.labels.numpy(), logits.numpy()))
    return {"epoch": epoch, "train_loss": train_loss, "held_out_loss": loss, "held_out_auc": auc}


def _loss_weights(part: Examples, config: FitConfig) -> Tensor | None:
    """Weight of each example in the loss, float32 [n], as `FitConfig.balance_sources` says; None: all alike."""
    if not config.balance_sources:
        return None
    return torch.from_numpy(source_weights(part.labels.numpy(), part.sources))


def epoch_draws(images: int, mask_sets: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """The order of an epoch's images, int64 [n], and the mask set of each image, int64 [n]."""
    order = torch.randperm(images, generator=generator)
    return order, torch.randint(mask_sets, (images,), generator=generator)
