"""A rendered GenImage tree and a seeded backbone file: what the tests of the training side share."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

PER_CLASS = {"train": 24, "val": 8}


def render(label: int, seed: int, size: tuple[int, int] = (96, 80)) -> Image.Image:
    """AI images are smooth ramps, real ones noisy: a head can learn it from any backbone."""
    rng = np.random.default_rng([seed, label])
    width, height = size
    ramp = np.linspace(0, 200, width)[None, :, None] * rng.uniform(0.3, 1, 3)
    noise = rng.normal(0, 4 if label else 40, (height, width, 3))
    return Image.fromarray((ramp + noise + 20).clip(0, 255).astype(np.uint8))


def make_tree(
    root: Path, generators: tuple[str, ...] = ("gen_a", "gen_b"), splits: tuple[str, ...] = ("train", "val")
) -> Path:
    """GenImage layout; gen_a has every split, the others `val` alone."""
    seed = 0
    for number, generator in enumerate(generators):
        for split in splits if number == 0 else ("val",):
            for name, label in (("ai", 1), ("nature", 0)):
                folder = root / generator / split / name
                folder.mkdir(parents=True)
                for index in range(PER_CLASS[split]):
                    seed += 1
                    render(label, seed).save(folder / f"{index:03d}.png")
    return root
