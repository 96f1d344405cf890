"""Corruptions and the balanced protocol: sizes, levels that mean what they say, determinism."""

from __future__ import annotations

import io

import numpy as np
import pytest
from cinemae.train.data.transforms import CORRUPTIONS, LEVELS, TRANSFORMS, Corruption, balanced, balanced_bytes
from PIL import Image

NOISE_TOLERANCE = 0.05
"""Relative error of a measured std: 57,600 values give 0.3 %, rounding to integers adds 1/12 to a variance of 4."""


@pytest.fixture(scope="module")
def picture() -> Image.Image:
    """160 x 120 with edges, texture and mid-gray, so that noise is not clipped."""
    y, x = np.mgrid[:120, :160]
    waves = 40 * np.sin(x / 3.0) * np.cos(y / 7.0)
    channels = [128 + waves + 20 * (x > 80), 120 - waves, 110 + 0.2 * y]
    texture = seeded(0).normal(0, 6, (120, 160, 3))
    return Image.fromarray((np.stack(channels, axis=2) + texture).clip(0, 255).astype(np.uint8))


def difference(a: Image.Image, b: Image.Image) -> float:
    return float(np.abs(np.asarray(a, float) - np.asarray(b, float)).mean())


def seeded(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


def roughness(image: Image.Image) -> float:
    return float(np.abs(np.diff(np.asarray(image, float), axis=1)).mean())


@pytest.mark.parametrize("name", sorted(set(TRANSFORMS) - {"none"}))
def test_changes_pixels_and_repeats_and_a_corruption_keeps_the_size(picture, name):
    once, again = (TRANSFORMS[name](image, seeded(3)) for image in (picture, picture.copy()))
    assert once.mode == "RGB"
    assert once.tobytes() == again.tobytes()
    if name.startswith("corruption:"):
        assert once.size == picture.size
        assert difference(once, picture) > 0.1


@pytest.mark.parametrize("kind", [kind for kind in LEVELS if kind != "grayscale"])
def test_levels_go_from_mild_to_strong(picture, kind):
    changes = [difference(Corruption(kind, level)(picture, seeded(0)), picture) for level in LEVELS[kind]]
    assert changes == sorted(changes)
    assert changes[-1] > 1.2 * changes[0]


def test_noise_has_the_stated_std_and_follows_the_seed(picture):
    gray = Image.new("RGB", picture.size, (128, 128, 128))
    noisy = CORRUPTIONS["noise_8"](gray, seeded(1))
    assert np.std(np.asarray(noisy, float)) == pytest.approx(8, rel=NOISE_TOLERANCE)
    assert noisy.tobytes() != CORRUPTIONS["noise_8"](gray, seeded(2)).tobytes()


def test_blur_and_downscale_smooth(picture):
    for name in ("blur_2", "downscale_0.4"):
        assert roughness(CORRUPTIONS[name](picture, seeded(0))) < 0.6 * roughness(picture)


def test_grayscale_has_equal_channels(picture):
    pixels = np.asarray(CORRUPTIONS["grayscale"](picture, seeded(0)))
    assert (pixels == pixels[:, :, :1]).all()


def test_tiny_images_survive_everything():
    for chosen in CORRUPTIONS.values():
        assert chosen(Image.new("RGB", (1, 2), (9, 9, 9)), seeded(0)).size == (1, 2)


def test_balance_gives_both_classes_one_format(picture):
    big, small = picture.resize((900, 500)), picture.resize((64, 64))
    files = [balanced_bytes(image, seeded(0)) for image in (big, small)]
    opened = [Image.open(io.BytesIO(data)) for data in files]
    assert {image.size for image in opened} == {(256, 256)}
    assert {image.format for image in opened} == {"JPEG"}
    assert opened[0].quantization == opened[1].quantization


def test_the_balanced_crop_is_seeded_and_resamples_even_an_image_of_the_right_size(picture):
    square = picture.resize((256, 256))
    assert difference(balanced(square, seeded(5)), square) > 1.0
    assert balanced(square, seeded(5)).tobytes() != balanced(square, seeded(6)).tobytes()
