"""Ablation of freezing [Table 5a, Fig. 10]: encoder and decoder really trained with the head, end to end."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from ...runtime.masks import masked_from_visible
from ...runtime.progress import Progress
from ..model.detector import CinemaeDetector
from ..model.head import Head
from ..model.lcas import lcas_from_sums, statistics
from ..model.mae import MaskedAutoencoder
from .ablate import plot_comparison
from .comparison import Data, comparison, fit_scores, load_data
from .experiment import Setup
from .image_batches import image_batches
from .result import StudyResult
from .study_data import Source

STRATEGIES = {
    "both trained": (True, True),
    "encoder frozen, decoder trained": (False, True),
    "encoder trained, decoder frozen": (True, False),
    "both frozen": (False, False),
}
"""(encoder trained, decoder trained), in the order of Table 5a."""


def is_decoder(name: str) -> bool:
    """Whether a parameter of the masked autoencoder belongs to its decoder."""
    return name.startswith("decoder") or name == "mask_token"


def unfreeze(mae: MaskedAutoencoder, encoder: bool, decoder: bool) -> list[nn.Parameter]:
    """Make the chosen parts trainable, position embeddings excepted, and return their parameters."""
    chosen = []
    for name, parameter in mae.named_parameters():
        wanted = decoder if is_decoder(name) else encoder
        parameter.requires_grad_(wanted and not name.endswith("pos_embed"))
        if parameter.requires_grad:
            chosen.append(parameter)
    return chosen


def forward(detector: CinemaeDetector, images: Tensor, visible: Tensor, masked: Tensor) -> Tensor:
    """Logits [B] with gradients into whatever is trainable: uint8 [B, S, S, 3], int64 [K, V], [K, M]."""
    pixels = detector.pixels(images)
    inputs = detector.normalise(pixels)
    runs = detector.runs(pixels, inputs, visible, masked)
    per_patch = detector.mae.config.patch_values // 3
    lcas = torch.stack([lcas_from_sums(run, per_patch, detector.method) for run in runs], dim=1)
    return detector.head(detector.f_global(inputs), statistics(lcas))


def train_unfrozen(
    source: Source, setup: Setup, data: Data, encoder: bool, decoder: bool, epochs: int, seed: int
) -> np.ndarray:
    """Adam at the head's rate on everything trainable; logits float32 [n] of `eval_rows` after the last epoch."""
    torch.manual_seed(seed)
    device = source.device or torch.device("cuda" if torch.cuda.is_available() else "cpu")
    mask_sets = setup.cache.spec.mask_sets()
    mae = source.load()
    detector = CinemaeDetector(mae, Head(mae.config.encoder_dim, setup.head), mask_sets[0], setup.method).to(device)
    detector.head.fit_standardisation(data.train.stats.flatten(0, 1))
    adam = torch.optim.Adam([*unfreeze(mae, encoder, decoder), *detector.head.parameters()], lr=setup.fit.lr)
    visible = torch.from_numpy(mask_sets).to(device)
    hidden = np.stack([masked_from_visible(one, mae.config.n_patches) for one in mask_sets])
    masked = torch.from_numpy(hidden).to(device)
    rows, _ = setup.rows
    labels = torch.from_numpy(setup.cache.labels(rows)).float()
    paths = np.array([setup.cache.rows[i].path for i in rows])
    rng = np.random.default_rng(seed)
    preprocess = setup.cache.spec.preprocess
    with Progress("images", epochs * len(rows), quiet=setup.quiet) as progress:
        for epoch in range(epochs):
            order = rng.permutation(len(rows))
            ordered = paths[order].tolist()
            for positions, images in image_batches(ordered, preprocess, setup.fit.batch_size, source.workers):
                drawn = rng.integers(len(mask_sets))
                logits = forward(detector, images.to(device), visible[drawn], masked[drawn])
                loss = binary_cross_entropy_with_logits(logits, labels[order[positions]].to(device))
                adam.zero_grad(set_to_none=True)
                loss.backward()
                adam.step()
                progress.advance(len(images), f"epoch {epoch + 1}, loss {float(loss.detach()):.3f}")
    scores = np.zeros(len(setup.eval_rows), np.float32)
    tested = [setup.cache.rows[i].path for i in setup.eval_rows]
    with torch.inference_mode():
        for positions, images in image_batches(tested, preprocess, source.batch_size, source.workers):
            scores[positions] = forward(detector, images.to(device), visible[0], masked[0]).cpu().numpy()
    return scores


def freezing(source: Source, out: Path, epochs: int | None = None) -> StudyResult:
    """All four strategies on the thinned samples; the frozen one trains on cached features."""
    samples = source.train_samples() + source.test_samples()
    epochs = epochs or source.fit.epochs
    one = replace(source, fit=replace(source.fit, epochs=epochs))
    setup = one.setup(one.fill(samples))
    data = load_data(setup, {"method": setup.method})["method"]
    seeds = [setup.fit.seed + i for i in range(setup.seeds)]
    variants = {}
    for name, (encoder, decoder) in STRATEGIES.items():
        if encoder or decoder:
            scores = [train_unfrozen(one, setup, data, encoder, decoder, epochs, seed) for seed in seeds]
        else:
            scores = fit_scores(setup, data, setup.head)
        variants[name] = scores
    rows, _ = setup.rows
    title = "Ablation: freezing"
    recipe = f"{epochs} epochs each, batch {setup.fit.batch_size}, Adam, lr {setup.fit.lr:g}"
    note = f"{len(rows):,} training images, {recipe}; what is unfrozen stays as after the last epoch. {source.bounds()}"
    table = comparison("freezing", title, "strategy", setup, variants, note)
    text = (
        "Encoder and decoder trained together with the head on the detection loss, or frozen (Table 5a). The "
        "gradient reaches the decoder through LCAS and the encoder through both branches."
    )
    return StudyResult("freezing", title, text, (table,), (plot_comparison(out, table, title),))
