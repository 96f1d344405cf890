"""Mean NLL of real and AI images while the decoder alone is trained [Fig. 2]."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ...runtime.core.masks import masked_from_visible
from ...runtime.core.progress import Progress
from ..model.lcas import by_channel
from ..model.mae import MaskedAutoencoder, patchify
from ..model.masked_runs import predict_masked
from ..pretraining.pretrain import masked_loss, random_visible
from ..reporting import plots
from ..reporting.result import Plot, StudyResult
from ..reporting.tables import Cell, Table
from .experiment import Experiment
from .freezing import unfreeze
from .image_batches import image_batches, normalised

RATE = 3e-4
POINTS = 8
"""Measurements along the curve, besides that before the first step."""


def fresh_decoder(mae: MaskedAutoencoder, seed: int) -> None:
    """Give the decoder the reference's initialisation; the encoder stays."""
    torch.manual_seed(seed)
    new = MaskedAutoencoder(mae.config)
    with torch.no_grad():
        for name, parameter in new.named_parameters():
            if name.startswith("decoder") or name == "mask_token":
                mae.get_parameter(name).copy_(parameter)


@torch.inference_mode()
def batch_nll(mae: MaskedAutoencoder, inputs: Tensor, visible: Tensor) -> Tensor:
    """NLL_approx [Eq. 2] of each image, mean over the runs: normalised [B, 3, S, S], int64 [K, V] -> [B]."""
    masked = torch.from_numpy(masked_from_visible(visible.cpu().numpy(), mae.config.n_patches)).to(visible.device)
    target = by_channel(patchify(inputs, mae.config.patch_size))[:, masked]
    error = predict_masked(mae, mae.embed(inputs), visible, masked) - target
    return error.square().mean(dim=(1, 2, 3, 4)) / 2


def decoder_curve(experiment: Experiment, out: Path) -> StudyResult:
    """Train the decoder on the thinned training images of both classes with the pretraining loss, encoder frozen."""
    one, steps, fresh = experiment.thinned, experiment.budget.curve_steps, experiment.budget.fresh_decoder
    seed, batch_size = one.fit.seed, one.fit.batch_size
    mae = one.load()
    if fresh:
        fresh_decoder(mae, seed)
    mae = mae.to(one.device)
    adam = torch.optim.Adam(unfreeze(mae, False, True), lr=RATE)
    visible = torch.from_numpy(one.cache.spec.mask_sets()[0]).to(one.device)
    trained, tested = ([one.cache.rows[i] for i in rows] for rows in (one.rows[0], one.eval_rows))
    curve: dict[str, list[float]] = defaultdict(list)
    when: list[int] = []

    def measure(step: int) -> None:
        nll = np.full(len(tested), np.nan)
        for positions, images in image_batches(one, tested):
            nll[positions] = batch_nll(mae, normalised(images, one.device), visible).cpu().numpy()
        when.append(step)
        for name, own in one.eval_parts.items():
            curve[name].append(float(np.nanmean(nll[own])))

    rng = np.random.default_rng(seed)
    generator = torch.Generator().manual_seed(seed)
    marks = {round(steps * (i + 1) / POINTS) for i in range(POINTS)}
    measure(0)
    step = 0
    with Progress("images", steps * batch_size, quiet=one.quiet) as progress:
        while step < steps:
            for _, images in image_batches(one, [trained[i] for i in rng.permutation(len(trained))], batch_size):
                keep = random_visible(len(images), mae.config, generator).to(one.device)
                loss = masked_loss(mae, normalised(images, one.device), keep)
                adam.zero_grad(set_to_none=True)
                loss.backward()
                adam.step()
                step += 1
                progress.advance(len(images), f"loss {float(loss.detach()):.3f}")
                if step in marks:
                    measure(step)
                if step == steps:
                    break
    title = "NLL while the decoder alone is trained"
    colours = {name: f"C{number}" for number, name in enumerate(one.generators)}
    lines = {
        name: (when, values, colours[name.rpartition(", ")[0]], "--" if name.endswith("real") else "-")
        for name, values in curve.items()
    }
    plots.curves(out / "decoder_curve.svg", title, lines, xlabel="step", ylabel="mean NLL")
    start = "a newly initialised decoder" if fresh else "the pretrained decoder"
    note = (
        f"Fig. 2. Encoder frozen, {start}, {len(trained):,} training images of both classes, batch {batch_size}, Adam, "
        f"lr {RATE:g}."
    )
    rows: list[tuple[Cell, ...]] = [(name, *values) for name, values in curve.items()]
    table = Table("decoder_curve", title, ("images", *(f"step {step}" for step in when)), tuple(rows), note=note)
    text = "Whether AI images stay easier to reconstruct than real images while the decoder learns. Dashed: real."
    return StudyResult(text, (table,), (Plot("decoder_curve.svg", title),))
