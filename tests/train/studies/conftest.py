"""Tiny pictures, a tiny model, and the whole protocol run on them once."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from cinemae.runtime.core.manifest import MethodConfig
from cinemae.train.data.sample import Sample
from cinemae.train.data.samples import read_samples
from cinemae.train.fitting.fit_config import FitConfig
from cinemae.train.model.mae import MaskedAutoencoder
from cinemae.train.studies.budget import Budget
from cinemae.train.studies.experiment import Experiment
from cinemae.train.studies.paper import paper
from cinemae.train.weights.save import save_backbone
from PIL import Image

PER_CLASS = 24
TESTED = 6


def picture(rng: np.random.Generator, ai: bool) -> Image.Image:
    """Coarse noise for AI, fine noise for real: a difference a head can learn from a few images."""
    side = 8 if ai else 32
    small = Image.fromarray(rng.integers(0, 256, (side, side, 3), dtype=np.uint8))
    return small.resize((72, 72), Image.Resampling.BICUBIC)


@pytest.fixture(scope="session")
def samples(tmp_path_factory) -> list[Sample]:
    root = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    counts = {("sd", "train"): PER_CLASS, ("wukong", "train"): PER_CLASS}
    counts |= {(generator, "val"): TESTED for generator in ("sd", "glide", "BigGAN")}
    for (generator, split), count in counts.items():
        for label in ("ai", "nature"):
            folder = root / generator / split / label
            folder.mkdir(parents=True)
            for i in range(count):
                picture(rng, label == "ai").save(folder / f"{i}.png")
    return read_samples(root)


@pytest.fixture(scope="session")
def experiment(samples, tiny_weights, tiny_config, tmp_path_factory) -> Experiment:
    """Trained on sd; BigGAN is only reported, wukong has a training split that is not used."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    other = tmp_path_factory.mktemp("weights") / "other.safetensors"
    save_backbone(MaskedAutoencoder(tiny_config), other)
    return Experiment(
        samples=tuple(samples), backbone=str(tiny_weights), root=tmp_path_factory.mktemp("cache"),
        fit=FitConfig(generators=("sd",), epochs=2, held_out=0.3, lr=1e-3), method=MethodConfig(mask_sets=2),
        report_only=("big-gan",), seeds=2, quiet=True,
        budget=Budget(limit=20, audit_limit=4, freezing_epochs=1, curve_steps=8, other_backbone=(str(tiny_weights),),
                      freezing_backbone=(str(other),)),
    )


@pytest.fixture(scope="session")
def report(experiment, tmp_path_factory):
    """The whole protocol, once: its folder and the report."""
    out = tmp_path_factory.mktemp("paper")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(out)
        return out, paper(experiment, out)
