"""Corruptions and the balanced protocol: sizes, levels that mean what they say, determinism."""

from __future__ import annotations

import io

import numpy as np
import pytest
from cinemae.train.data.balance import BalanceConfig, balance, balance_bytes
from cinemae.train.data.corruptions import CORRUPTIONS, LEVELS, Corruption, corrupt
from PIL import Image

NOISE_TOLERANCE = 0.05
"""Relative error of a measured std: 57,600 values give 0.3 %, rounding to integers adds 1/12 to a variance of 4."""


@pytest.fixture(scope="module")
def picture() -> Image.Image:
    """160 x 120 with edges, texture and mid-gray, so that noise is not clipped."""
    y, x = np.mgrid[:120, :160]
    waves = 40 * np.sin(x / 3.0) * np.cos(y / 7.0)
    rng = np.random.default_rng(0)
    channels = [128 + waves + 20 * (x > 80), 120 - waves, 110 + 0.2 * y]
    texture = rng.normal(0, 6, (120, 160, 3))
    return Image.fromarray((np.stack(channels, axis=2) + texture).clip(0, 255).astype(np.uint8))


def difference(a: Image.Image, b: Image.Image) -> float:
    return float(np.abs(np.asarray(a, float) - np.asarray(b, float)).mean())


def seeded(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


def roughness(image: Image.Image) -> float:
    return float(np.abs(np.diff(np.asarray(image, float), axis=1)).mean())


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_keeps_size_changes_pixels_and_repeats(picture, name):
    chosen = CORRUPTIONS[name]
    once, again = corrupt(picture, chosen, seeded(3)), corrupt(picture.copy(), chosen, seeded(3))
    assert once.mode == "RGB"
    assert once.size == picture.size
    assert once.tobytes() == again.tobytes()
    assert difference(once, picture) > 0.1


@pytest.mark.parametrize("kind", [kind for kind in LEVELS if kind != "grayscale"])
def test_levels_go_from_mild_to_strong(picture, kind):
    changes = [difference(corrupt(picture, Corruption(kind, level), seeded(0)), picture) for level in LEVELS[kind]]
    assert changes == sorted(changes)
    assert changes[-1] > 1.2 * changes[0]


def test_noise_has_the_stated_std_and_follows_the_seed(picture):
    gray = Image.new("RGB", picture.size, (128, 128, 128))
    noisy = corrupt(gray, CORRUPTIONS["noise_8"], seeded(1))
    assert np.std(np.asarray(noisy, float)) == pytest.approx(8, rel=NOISE_TOLERANCE)
    assert noisy.tobytes() != corrupt(gray, CORRUPTIONS["noise_8"], seeded(2)).tobytes()


def test_blur_and_downscale_smooth(picture):
    for name in ("blur_2", "downscale_0.4"):
        assert roughness(corrupt(picture, CORRUPTIONS[name], seeded(0))) < 0.6 * roughness(picture)


def test_grayscale_has_equal_channels(picture):
    pixels = np.asarray(corrupt(picture, CORRUPTIONS["grayscale"], seeded(0)))
    assert (pixels == pixels[:, :, :1]).all()


def test_tiny_images_survive_everything():
    for chosen in CORRUPTIONS.values():
        assert corrupt(Image.new("RGB", (1, 2), (9, 9, 9)), chosen, seeded(0)).size == (1, 2)


def test_balance_gives_both_classes_one_format(picture):
    big, small = picture.resize((900, 500)), picture.resize((64, 64))
    files = [balance_bytes(image, seeded(0)) for image in (big, small)]
    opened = [Image.open(io.BytesIO(data)) for data in files]
    assert {image.size for image in opened} == {(256, 256)}
    assert {image.format for image in opened} == {"JPEG"}
    assert opened[0].quantization == opened[1].quantization
    assert balance(big, seeded(0), BalanceConfig(size=100)).size == (100, 100)


def test_balance_is_deterministic_and_seeded(picture):
    assert balance(picture, seeded(5)).tobytes() == balance(picture.copy(), seeded(5)).tobytes()
    assert balance(picture, seeded(5)).tobytes() != balance(picture, seeded(6)).tobytes()
    assert balance(picture, seeded(5)).mode == "RGB"


def test_balance_resamples_even_an_image_of_the_right_size(picture):
    square = picture.resize((256, 256))
    assert difference(balance(square, seeded(0)), square) > 1.0
