"""Trees of labelled images: rendered, or of files that nobody opens; and how many samples a reader finds in them."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
from cinemae.train.data.sample import Sample
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


def add(root: Path, generator: str, split: str, count: int, first: int = 0) -> None:
    """`count` more images of each class of a source, in a GenImage tree."""
    for label, name in enumerate(("nature", "ai")):
        folder = root / generator / split / name
        folder.mkdir(parents=True, exist_ok=True)
        for i in range(first, first + count):
            seed = 1000 * sum(map(ord, generator)) + 100 * len(split) + i
            render(label, seed, (80, 72)).save(folder / f"{i}.png")


def touch(path: Path) -> Path:
    """A file with one byte: the readers do not open images."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x")
    return path


def both(folder: Path, real: str, fake: str, suffix: str = ".png") -> None:
    touch(folder / real / f"r{suffix}")
    touch(folder / fake / f"f{suffix}")


def describe(samples: list[Sample]) -> dict[tuple[str, str], tuple[int, int]]:
    """(generator, split) -> (AI, real) counts."""
    counts = Counter(sample.cell for sample in samples)
    return {(g, s): (counts[g, s, 1], counts[g, s, 0]) for g, s, _ in counts}
