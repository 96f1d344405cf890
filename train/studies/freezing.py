"""Ablation of freezing [Table 5a, Fig. 10]: encoder and decoder trained end to end with the head."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits

from ...runtime.core.masks import masked_from_visible
from ...runtime.core.progress import Progress
from ..evaluation.metrics import MACC
from ..fitting.examples import Examples
from ..fitting.head_training import epoch_draws
from ..model.detector import CinemaeDetector
from ..model.head import Head
from ..model.mae import MaskedAutoencoder
from ..reporting import plots
from ..reporting.result import Plot, StudyResult
from ..reporting.tables import Cell, Table
from ..weights.key_layouts import is_decoder
from .comparison import HeadInputs, comparison, drawn, fit_scores, head_inputs, per_generator, seed_means
from .experiment import Experiment
from .image_batches import image_batches

STRATEGIES = {
    "both trained": (True, True),
    "encoder frozen, decoder trained": (False, True),
    "encoder trained, decoder frozen": (True, False),
    "both frozen": (False, False),
}
"""(encoder trained, decoder trained), in the order of Table 5a."""


def unfreeze(mae: MaskedAutoencoder, encoder: bool, decoder: bool) -> list[nn.Parameter]:
    """Make the chosen parts trainable, position embeddings excepted, and return their parameters."""
    chosen = []
    for name, parameter in mae.named_parameters():
        wanted = decoder if is_decoder(name) else encoder
        parameter.requires_grad_(wanted and not name.endswith("pos_embed"))
        if parameter.requires_grad:
            chosen.append(parameter)
    return chosen


def train_end_to_end(experiment: Experiment, inputs: HeadInputs, seed: int, parts: tuple[bool, bool]) -> np.ndarray:
    """Train the head together with parts of the backbone, by the recipe of `head_training.train_head`.

    As there, the initial head, the order of the images and the mask set of each image in each epoch follow from the
    seed, and the epoch with the lowest loss on the held-out images under the deployed masks counts.

    Args:
        experiment: gives the backbone and the recipe.
        inputs: images to train on, hold out and score, and the statistics for the head's standardisation.
        seed: seed of the head and of all draws.
        parts: whether the encoder is trained, and whether the decoder is.

    Returns:
        Logits of `inputs.test`, float32 [n].
    """
    fit, device, train = experiment.fit, experiment.device, inputs.train
    mask_sets = experiment.cache.spec.mask_sets()
    mae = experiment.load()
    torch.manual_seed(seed)
    head = Head(mae.config.encoder_dim, experiment.head)
    detector = CinemaeDetector(mae, head, mask_sets[0], experiment.method).to(device)
    detector.head.fit_standardisation(train.stats.flatten(0, 1))
    adam = torch.optim.Adam([*unfreeze(mae, *parts), *detector.head.parameters()], lr=fit.lr)
    visible = torch.from_numpy(mask_sets[:, : experiment.method.k]).to(device)
    hidden = np.stack([masked_from_visible(one, mae.config.n_patches) for one in mask_sets[:, : experiment.method.k]])
    masked = torch.from_numpy(hidden).to(device)

    def logits_of(part: Examples) -> np.ndarray:
        """Logits with the deployed masks, float32 [n]; 0 where a file has become unreadable."""
        scores = np.zeros(len(part), np.float32)
        with torch.inference_mode():
            for positions, images in image_batches(experiment, part.rows):
                scores[positions] = detector(images.to(device)).logit.cpu().numpy()
        return scores

    generator = torch.Generator().manual_seed(seed)
    best_loss, best = float("inf"), detector.state_dict()
    with Progress("images", fit.epochs * len(train), quiet=experiment.quiet) as progress:
        for epoch in range(fit.epochs):
            order, drawn = (t.numpy() for t in epoch_draws(len(train), len(mask_sets), generator))
            for positions, images in image_batches(experiment, [train.rows[i] for i in order], fit.batch_size):
                chosen = order[positions]
                logits = torch.empty(len(chosen), device=device)
                for one in np.unique(drawn[chosen]):  # images with the same mask set go through together
                    own = torch.from_numpy(np.flatnonzero(drawn[chosen] == one))
                    part = detector.detect(images[own].to(device), visible[one], masked[one]).logit
                    logits = logits.index_put((own.to(device),), part)
                loss = binary_cross_entropy_with_logits(logits, train.labels[chosen].to(device))
                adam.zero_grad(set_to_none=True)
                loss.backward()
                adam.step()
                progress.advance(len(images), f"epoch {epoch + 1}, loss {float(loss.detach()):.3f}")
            held = torch.from_numpy(logits_of(inputs.held))
            held_loss = float(binary_cross_entropy_with_logits(held, inputs.held.labels))
            if held_loss < best_loss:
                best_loss, best = held_loss, deepcopy(detector.state_dict())
        detector.load_state_dict(best)
    return logits_of(inputs.test)


def freezing(experiment: Experiment, out: Path) -> StudyResult:
    """All four strategies on each backbone, on the thinned samples; the frozen arm trains on cached features."""
    names = (experiment.backbone, *experiment.budget.freezing_backbone)
    fit = replace(experiment.fit, epochs=experiment.budget.freezing_epochs or experiment.fit.epochs)
    variants: dict[str, list[np.ndarray]] = {}
    for backbone in names:
        one = replace(experiment.thinned, backbone=backbone, fit=fit)
        (inputs,) = head_inputs(one, one.method)
        for strategy, parts in STRATEGIES.items():
            label = strategy if len(names) == 1 else f"{Path(backbone).name}, {strategy}"
            seeds = range(fit.seed, fit.seed + one.seeds)
            variants[label] = [train_end_to_end(one, inputs, seed, parts) for seed in seeds] if any(parts) else (
                fit_scores(one, inputs))
    note = (
        f"{len(one.rows[0]):,} training images, {fit.epochs} epochs, batch {fit.batch_size}, Adam, lr {fit.lr:g}. All "
        "arms share the order of the images, the masks drawn, and the choice of the epoch by held-out loss. "
        f"{one.budget.bounds()}"
    )
    table = comparison(one, variants, name="freezing", title="Freezing", what="strategy", note=note)
    each = accuracies(one, variants)
    text = (
        "Encoder and decoder trained together with the head on the detection loss, or frozen (Table 5a, Fig. 10). The "
        "gradient reaches the decoder through LCAS and the encoder through both branches."
    )
    _, pictures = drawn(out, table)
    return StudyResult(text, (table, each), (_plot_accuracy(out, each), *pictures))


def accuracies(experiment: Experiment, variants: Mapping[str, Sequence[np.ndarray]]) -> Table:
    """Table with a row for each variant: mAcc, and the plain accuracy on each generator. Variants as `comparison`."""
    rows: list[tuple[Cell, ...]] = []
    for label, seeds in variants.items():
        values = seed_means([per_generator(experiment, scores) for scores in seeds], "accuracy_05").values()
        rows.append((label, float(np.mean(list(values))), *values))
    columns = ("strategy", "mAcc", *experiment.generators)
    note = f"Plain accuracies at P(AI) = 0.5. {MACC}."
    return Table("freezing_accuracy", "Freezing: accuracy per generator", columns, tuple(rows), note=note)


def _plot_accuracy(out: Path, table: Table) -> Plot:
    """Fig. 10: accuracy of every arm over the generators, with its mean dotted."""
    generators = table.columns[2:]
    lines: dict[str, plots.Line] = {}
    for number, (label, mean, *values) in enumerate(table.rows):
        x = range(len(generators))
        lines[str(label)] = (x, [float(v or 0) for v in values], f"C{number}", "-")
        lines[f"_{label}"] = (x, [float(mean or 0)] * len(generators), f"C{number}", ":")
    plots.curves(out / f"{table.name}.svg", table.title, lines, ylabel="accuracy", ticks=generators)
    return Plot(f"{table.name}.svg", "Accuracy per generator; dotted: mAcc (Fig. 10)")
