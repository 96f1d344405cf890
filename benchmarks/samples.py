"""Render the sample images of `cinemae run --demo` and of the server's page: python benchmarks/samples.py

No camera and no model made them, so a verdict about them means nothing; they show every part of a report. All are drawn
from seeded random numbers, and with the same Pillow the files have the same bytes.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

OUT = Path(__file__).parents[1] / "runtime" / "scan" / "samples"
SIZE = 384
LARGEST = 150_000
"""Bytes of all samples together: they travel in every wheel."""


def clouds(rng: np.random.Generator, width: int, height: int, octaves: int = 6) -> np.ndarray:
    """Noise with a spectrum like that of clouds: float64 [height, width] in [0, 1]."""
    total = np.zeros((height, width))
    for octave in range(1, octaves + 1):
        noise = rng.integers(0, 256, (2**octave + 1, 2**octave + 1), dtype=np.uint8)
        smooth = Image.fromarray(noise).resize((width, height), Image.Resampling.BICUBIC)
        total += np.asarray(smooth, float) / 1.8**octave
    return (total - total.min()) / np.ptp(total)


def mixed(share: np.ndarray, low: tuple[int, int, int], high: tuple[int, int, int]) -> np.ndarray:
    """Colours between `low` and `high`: float64 [height, width, 3]."""
    return share[..., None] * np.array(high, float) + (1 - share[..., None]) * np.array(low, float)


def as_image(pixels: np.ndarray) -> Image.Image:
    """RGB image of float [height, width, 3]."""
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def seaside(rng: np.random.Generator, width: int = SIZE, height: int = 288) -> Image.Image:
    """A sky with clouds over a sea with waves."""
    y, x = np.mgrid[0:height, 0:width] / height
    horizon = 0.55
    sky = mixed(clouds(rng, width, height), (96, 148, 206), (250, 240, 226))
    waves = 0.5 + 0.5 * np.sin(np.sqrt(np.maximum(y - horizon, 0)) * 120 + 3 * np.sin(x * 7))
    sea = mixed(0.75 * waves + 0.25 * clouds(rng, width, height), (18, 58, 92), (104, 160, 176))
    return as_image(np.where((y < horizon)[..., None], sky, sea) + rng.normal(0, 4, (height, width, 1)))


def marbles(rng: np.random.Generator) -> Image.Image:
    """Lit spheres on a table."""
    image = as_image(mixed(clouds(rng, SIZE, SIZE, 7), (92, 64, 44), (176, 136, 98)))
    draw = ImageDraw.Draw(image)
    for _ in range(14):
        x, y, radius = (int(value) for value in rng.integers((40, 40, 22), (SIZE - 40, SIZE - 40, 62)))
        colour = rng.integers(60, 255, 3)
        for step in range(radius, 0, -1):
            shade = (colour * (1.2 - 0.95 * step / radius)).clip(0, 255).astype(int)
            cx, cy = x - (radius - step) // 3, y - (radius - step) // 3
            draw.ellipse((cx - step, cy - step, cx + step, cy + step), fill=tuple(shade.tolist()))
    return image.filter(ImageFilter.SMOOTH)


def street(rng: np.random.Generator) -> Image.Image:
    """House fronts with windows in the evening."""
    image = as_image(mixed(np.linspace(0, 1, SIZE)[:, None].repeat(SIZE, 1), (44, 52, 98), (236, 150, 104)))
    draw, left = ImageDraw.Draw(image), 0
    while left < SIZE:
        width, top = int(rng.integers(46, 84)), int(rng.integers(60, 220))
        draw.rectangle((left, top, left + width, SIZE), fill=tuple(rng.integers(30, 110, 3).tolist()))
        for y in range(top + 12, SIZE - 14, 22):
            for x in range(left + 8, left + width - 12, 16):
                lit = rng.random() < 0.45
                draw.rectangle((x, y, x + 8, y + 12), fill=(250, 214, 130) if lit else (24, 28, 44))
        left += width + 2
    return image


def meadow(rng: np.random.Generator, width: int = 900, height: int = 220) -> Image.Image:
    """A wide view of grass and flowers."""
    image = as_image(mixed(clouds(rng, width, height, 8), (38, 84, 28), (164, 196, 92)))
    draw = ImageDraw.Draw(image)
    for _ in range(240):
        x, y = int(rng.integers(0, width)), int(rng.integers(height // 4, height))
        radius = 1 + 5 * y // height
        colour = ((236, 84, 96), (250, 210, 84), (244, 240, 250))[int(rng.integers(0, 3))]
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour)
    return image


def mosaic(rng: np.random.Generator) -> Image.Image:
    """Coloured tiles."""
    points, colours = rng.uniform(0, SIZE, (70, 2)), rng.integers(30, 255, (70, 3))
    y, x = np.mgrid[0:SIZE, 0:SIZE]
    distance = np.sqrt((x[..., None] - points[:, 0]) ** 2 + (y[..., None] - points[:, 1]) ** 2)
    nearest = np.sort(distance, axis=2)[..., :2]
    joint = (nearest[..., 1] - nearest[..., 0] < 4)[..., None]
    return as_image(np.where(joint, 40, colours[distance.argmin(axis=2)]) + rng.normal(0, 2, (SIZE, SIZE, 1)))


def weave(rng: np.random.Generator) -> Image.Image:
    """Cloth, in grey."""
    y, x = np.mgrid[0:SIZE, 0:SIZE]
    thread = np.where((x // 9 + y // 9) % 2, np.sin(x * np.pi / 9) ** 2, np.sin(y * np.pi / 9) ** 2)
    return as_image((60 + 120 * thread * (0.6 + 0.4 * clouds(rng, SIZE, SIZE)))[..., None].repeat(3, 2)).convert("L")


def main() -> None:
    """Write the samples and print their sizes."""
    for seed, make in enumerate((marbles, meadow, mosaic, seaside, street, weave)):
        make(np.random.default_rng(seed)).save(OUT / f"{make.__name__}.jpg", quality=74, optimize=True)
    sizes = {path.name: path.stat().st_size for path in sorted(OUT.glob("*.jpg"))}
    assert sum(sizes.values()) <= LARGEST, sizes
    print(sizes, sum(sizes.values()))


if __name__ == "__main__":
    main()
