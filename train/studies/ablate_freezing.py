"""Ablation of freezing [Table 5a, Fig. 10]: encoder and decoder really trained with the head, end to end."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits

from ...runtime.masks import masked_from_visible
from ...runtime.progress import Progress
from ..model.detector import CinemaeDetector
from ..model.head import Head
from ..model.mae import MaskedAutoencoder
from ..weights.layouts import is_decoder
from .ablate import plot_comparison
from .comparison import HeadInputs, comparison, fit_scores, head_inputs
from .experiment import Experiment
from .image_batches import image_batches
from .result import StudyResult
from .study_data import StudyData

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


def train_unfrozen(
    data: StudyData, experiment: Experiment, inputs: HeadInputs, encoder: bool, decoder: bool, epochs: int, seed: int
) -> np.ndarray:
    """Adam at the head's rate on everything trainable; logits float32 [n] of `eval_rows` after the last epoch."""
    torch.manual_seed(seed)
    device = data.device or torch.device("cuda" if torch.cuda.is_available() else "cpu")
    mask_sets = experiment.cache.spec.mask_sets()
    mae = data.load()
    detector = CinemaeDetector(mae, Head(mae.config.encoder_dim, experiment.head), mask_sets[0], experiment.method).to(
        device
    )
    detector.head.fit_standardisation(inputs.train.stats.flatten(0, 1))
    adam = torch.optim.Adam([*unfreeze(mae, encoder, decoder), *detector.head.parameters()], lr=experiment.fit.lr)
    visible = torch.from_numpy(mask_sets).to(device)
    hidden = np.stack([masked_from_visible(one, mae.config.n_patches) for one in mask_sets])
    masked = torch.from_numpy(hidden).to(device)
    rows, _ = experiment.rows
    labels = torch.from_numpy(experiment.cache.labels(rows)).float()
    paths = np.array([experiment.cache.rows[i].path for i in rows])
    rng = np.random.default_rng(seed)
    preprocess = experiment.cache.spec.preprocess
    with Progress("images", epochs * len(rows), quiet=experiment.quiet) as progress:
        for epoch in range(epochs):
            order = rng.permutation(len(rows))
            ordered = paths[order].tolist()
            for positions, images in image_batches(ordered, preprocess, experiment.fit.batch_size, data.workers):
                drawn = rng.integers(len(mask_sets))
                logits = detector.detect(images.to(device), visible[drawn], masked[drawn]).logit
                loss = binary_cross_entropy_with_logits(logits, labels[order[positions]].to(device))
                adam.zero_grad(set_to_none=True)
                loss.backward()
                adam.step()
                progress.advance(len(images), f"epoch {epoch + 1}, loss {float(loss.detach()):.3f}")
    scores = np.zeros(len(experiment.eval_rows), np.float32)
    tested = [experiment.cache.rows[i].path for i in experiment.eval_rows]
    with torch.inference_mode():
        for positions, images in image_batches(tested, preprocess, data.batch_size, data.workers):
            scores[positions] = detector(images.to(device)).logit.cpu().numpy()
    return scores


def freezing(data: StudyData, out: Path, epochs: int | None = None) -> StudyResult:
    """All four strategies on the thinned samples; the frozen one trains on cached features."""
    samples = data.train_samples() + data.test_samples()
    epochs = epochs or data.fit.epochs
    one = replace(data, fit=replace(data.fit, epochs=epochs))
    experiment = one.experiment(one.fill(samples))
    inputs = head_inputs(experiment, {"method": experiment.method})["method"]
    seeds = [experiment.fit.seed + i for i in range(experiment.seeds)]
    variants = {}
    for name, (encoder, decoder) in STRATEGIES.items():
        if encoder or decoder:
            scores = [train_unfrozen(one, experiment, inputs, encoder, decoder, epochs, seed) for seed in seeds]
        else:
            scores = fit_scores(experiment, inputs, experiment.head)
        variants[name] = scores
    rows, _ = experiment.rows
    title = "Ablation: freezing"
    recipe = f"{epochs} epochs each, batch {experiment.fit.batch_size}, Adam, lr {experiment.fit.lr:g}"
    note = f"{len(rows):,} training images, {recipe}; what is unfrozen stays as after the last epoch. {data.bounds()}"
    table = comparison("freezing", title, "strategy", experiment, variants, note)
    text = (
        "Encoder and decoder trained together with the head on the detection loss, or frozen (Table 5a). The "
        "gradient reaches the decoder through LCAS and the encoder through both branches."
    )
    return StudyResult("freezing", title, text, (table,), (plot_comparison(out, table, title),))
