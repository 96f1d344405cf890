"""Mean NLL of real and AI images while the decoder alone is trained [Fig. 2]."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ...runtime.core.masks import masked_from_visible
from ...runtime.core.progress import Progress
from ..compute import choose_device
from ..model.lcas import by_channel
from ..model.mae import MaskedAutoencoder, patchify
from ..model.masked_runs import predict_masked
from ..pretraining.pretrain import masked_loss, random_visible
from ..reporting import plots
from ..reporting.result import Plot, StudyResult
from ..reporting.tables import Cell, Table
from .ablate_freezing import unfreeze
from .experiment import Experiment
from .image_batches import image_batches, normalised
from .study_data import StudyData

RATE = 3e-4
POINTS = 8
"""Measurements along the curve, besides the one before the first step."""


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


def decoder_curve(
    data: StudyData, experiment: Experiment, out: Path, steps: int = 1000, fresh: bool = True
) -> StudyResult:
    """Train the decoder on the training split's images of both classes with the pretraining loss, encoder frozen.

    Args:
        data: the backbone.
        experiment: its training rows are trained on, its test rows measured.
        out: folder of the study.
        steps: steps of training.
        fresh: start from a newly initialised decoder, else from the pretrained one.
    """
    device = data.device or choose_device("auto")
    mae = data.load()
    if fresh:
        fresh_decoder(mae, experiment.fit.seed)
    mae = mae.to(device)
    adam = torch.optim.Adam(unfreeze(mae, False, True), lr=RATE)
    preprocess, batch_size = experiment.cache.spec.preprocess, experiment.fit.batch_size
    visible = torch.from_numpy(experiment.cache.spec.mask_sets()[0]).to(device)
    trained = np.array([experiment.cache.rows[i].path for i in experiment.rows[0]])
    tested = [experiment.cache.rows[i].path for i in experiment.eval_rows]
    curve: dict[str, list[float]] = defaultdict(list)
    when: list[int] = []

    def measure(step: int) -> None:
        nll = np.full(len(tested), np.nan)
        for positions, images in image_batches(tested, preprocess, data.batch_size, data.workers):
            nll[positions] = batch_nll(mae, normalised(images, device), visible).cpu().numpy()
        when.append(step)
        for name in experiment.generators:
            for label, word in ((1, "AI"), (0, "real")):
                own = (experiment.eval_generators == name) & (experiment.eval_labels == label)
                curve[f"{name}, {word}"].append(float(np.nanmean(nll[own])))

    rng = np.random.default_rng(experiment.fit.seed)
    generator = torch.Generator().manual_seed(experiment.fit.seed)
    marks = {round(steps * (i + 1) / POINTS) for i in range(POINTS)}
    measure(0)
    step = 0
    with Progress("images", steps * batch_size, quiet=experiment.quiet) as progress:
        while step < steps:
            for _, images in image_batches(rng.permutation(trained).tolist(), preprocess, batch_size, data.workers):
                keep = random_visible(len(images), mae.config, generator).to(device)
                loss = masked_loss(mae, normalised(images, device), keep)
                adam.zero_grad(set_to_none=True)
                loss.backward()
                adam.step()
                step += 1
                progress.advance(len(images), f"loss {float(loss.detach()):.3f}")
                if step in marks:
                    measure(step)
                if step == steps:
                    break
    return _report(experiment, out, curve, when, fresh, len(trained))


def _report(
    experiment: Experiment, out: Path, curve: dict[str, list[float]], when: list[int], fresh: bool, n: int
) -> StudyResult:
    """Make table and plot of the measurements."""
    palette = dict(zip(experiment.generators, plots.colours(len(experiment.generators)), strict=True))
    lines = {
        name: (when, values, palette[name.rsplit(", ", 1)[0]], "--" if name.endswith("real") else "-")
        for name, values in curve.items()
    }
    title = "NLL while the decoder alone is trained"
    plots.curves(out / "decoder_curve.svg", title, "step", "mean NLL", lines)
    rows: list[tuple[Cell, ...]] = [(name, *values) for name, values in curve.items()]
    start = "a newly initialised decoder" if fresh else "the pretrained decoder"
    note = (
        f"Fig. 2. Encoder frozen, {start}, {n:,} training images of both classes, batch {experiment.fit.batch_size}, "
        f"Adam, lr {RATE:g}."
    )
    table = Table("decoder_curve", title, ("images", *(f"step {step}" for step in when)), tuple(rows), note)
    text = "Whether AI images stay easier to reconstruct than real ones while the decoder learns. Dashed: real images."
    return StudyResult("curve", title, text, (table,), (Plot("decoder_curve.svg", title),))
