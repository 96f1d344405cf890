"""LCAS and its statistics, numpy and torch, against an independent float64 computation from the equations."""

import numpy as np
import pytest
import torch
from cinemae.export.graph.packed_lcas import PackedLcas
from cinemae.runtime.core.manifest import BackboneConfig, HeadConfig, MethodConfig, Preprocess
from cinemae.runtime.core.masks import draw_visible, masked_from_visible
from cinemae.runtime.engines.parts import lcas as numpy_lcas
from cinemae.train.model import lcas as torch_lcas
from cinemae.train.model.mae import patchify
from cinemae.train.model.presets import PRESETS
from lcas_reference import reference
from untrained import untrained_detector

FLOAT64 = 1e-9
"""Relative: the same equations in another order of summation, in float64."""
FLOAT32 = 2e-5
"""Relative to the largest LCAS of the image: sums of up to 768 float32 values."""

rng = np.random.default_rng(0)


def pictures(size):
    """uint8 [6, size, size, 3]: noise, ramp, flat gray, white, black, and white but for one pixel in the last row."""
    flat = [np.full((size, size, 3), value, np.uint8) for value in (128, 255, 0)]
    ramp = np.linspace(0, 255, size * size * 3).reshape(size, size, 3).astype(np.uint8)
    nearly = flat[1].copy()
    nearly[-1, -1] = 0
    return np.stack([rng.integers(0, 256, (size, size, 3), dtype=np.uint8), ramp, *flat, nearly])


def reconstructions(images, size, k, error=0.3):
    """K decoder outputs float32 [B, N, P], normalised: the image itself with an error of its own in every run."""
    exact = numpy_lcas.patchify(numpy_lcas.normalise(images, Preprocess()), size)
    return [(exact + error * rng.standard_normal(exact.shape)).astype(np.float32) for _ in range(k)]


def by_torch(images, hats, visible, size, method):
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
    patches = patchify(pixels, size)
    masked = masked_from_visible(visible, patches.shape[1])
    runs = [
        torch_lcas.run_sums(patches, torch.from_numpy(hat), torch.from_numpy(seen), torch.from_numpy(hidden))
        for hat, seen, hidden in zip(hats, visible, masked, strict=True)
    ]
    lcas = torch.stack([torch_lcas.lcas_from_sums(run, size * size, method) for run in runs], dim=1)
    return torch_lcas.statistics(lcas).numpy(), torch_lcas.patch_map(
        lcas, torch.from_numpy(masked), patches.shape[1]
    ).numpy()


def by_graph(images, hats, visible, size, method):
    """Statistics of the exported graph's LCAS."""
    config = BackboneConfig(
        image_size=images.shape[1], patch_size=size, encoder_dim=4, encoder_depth=1, encoder_heads=1,
        decoder_dim=4, decoder_depth=1, decoder_heads=1,
    )
    lcas = PackedLcas(untrained_detector(config, method, visible, HeadConfig()))
    patches = patchify(torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255, size)
    masked = masked_from_visible(visible, patches.shape[1])
    hidden = np.stack([hat[:, rows] for hat, rows in zip(hats, masked, strict=True)], axis=1)
    predicted = torch.from_numpy(hidden).reshape(-1, patches.shape[2]) * lcas.std + lcas.mean
    return lcas(patches, lcas.normalise(patches), predicted)[0].numpy()


def by_numpy(images, hats, visible, size, method, dtype):
    hats = [hat.astype(dtype) for hat in hats]
    return numpy_lcas.score_runs(images, hats, visible, size, method, Preprocess())


def check(images, hats, visible, size, method):
    """All implementations against the reference, image by image."""
    stats64, map64 = by_numpy(images, hats, visible, size, method, np.float64)
    stats32, map32 = by_numpy(images, hats, visible, size, method, np.float32)
    stats_torch, map_torch = by_torch(images, hats, visible, size, method)
    for b, image in enumerate(images):
        stats, means, lcas = reference(
            image, [hat[b] for hat in hats], visible, size, lambda_=method.lambda_, space=method.pixel_space,
            stat=method.stat_reduction, fidelity=method.fidelity_reduction,
        )
        scale = np.nanmax(np.abs(lcas)) + 1
        for found, tolerance, found_stats in (
            (map64[b], FLOAT64 if method.pixel_space == "unit" else FLOAT32, stats64[b]),  # normalise() is float32
            (map32[b], FLOAT32, stats32[b]),
            (map_torch[b], FLOAT32, stats_torch[b]),
        ):
            np.testing.assert_allclose(found, lcas, rtol=0, atol=tolerance * scale, err_msg=f"image {b}")
            np.testing.assert_allclose(found_stats, stats, rtol=0, atol=3 * tolerance * scale, err_msg=f"image {b}")
        if len(visible) == 2:
            assert stats[2] == pytest.approx(abs(means[0] - means[1]) / 2, abs=1e-9 * scale)
            assert stats64[b][2] == pytest.approx(abs(means[0] - means[1]) / 2, abs=3 * FLOAT32 * scale)


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_at_the_default_method(name):
    config, method = PRESETS[name], MethodConfig()
    images = pictures(config.image_size)[[0, 1, 3]]
    visible = draw_visible(config.n_patches, method.k, method.mask_strategy, method.mask_seed)
    check(images, reconstructions(images, config.patch_size, method.k), visible, config.patch_size, method)


VARIANTS = [
    MethodConfig(pixel_space=space, stat_reduction=stat, fidelity_reduction=fidelity, lambda_=lambda_)
    for space in ("unit", "imagenet")
    for stat in ("mean", "sum")
    for fidelity in ("sum", "mean")
    for lambda_ in (0.0, 0.1, 1.0)
]


@pytest.mark.parametrize(
    "method",
    VARIANTS,
    ids=lambda m: "-".join(map(str, (m.pixel_space, m.stat_reduction, m.fidelity_reduction, m.lambda_))),
)
def test_every_pixel_space_reduction_and_lambda(method):
    images = pictures(64)
    visible = draw_visible(16, method.k, method.mask_strategy, 1)
    check(images, reconstructions(images, 16, method.k), visible, 16, method)


@pytest.mark.parametrize("strategy", ["balanced", "independent"])
@pytest.mark.parametrize("k", [1, 2, 3, 4, 5])
def test_every_number_of_runs_and_mask_strategy(k, strategy):
    method = MethodConfig(k=k, mask_strategy=strategy)
    images = pictures(56)[:2]
    visible = draw_visible(16, k, strategy, 2)
    check(images, reconstructions(images, 14, k), visible, 14, method)


@pytest.mark.parametrize("error", [1e-4, 1e-2])
@pytest.mark.parametrize("space", ["unit", "imagenet"])
def test_good_reconstructions_of_flat_images_do_not_cancel(space, error):
    """sigma is at its floor, which divides by 1e-6: an expanded sum of squares would lose it in rounding."""
    method = MethodConfig(pixel_space=space)
    images = pictures(64)[[2, 3, 4, 5]]
    visible = draw_visible(16, 2, "balanced", 3)
    check(images, reconstructions(images, 16, 2, error), visible, 16, method)


FLAT_S3 = 1e-2
"""Relative: what float32 leaves of s3 where it is five orders of magnitude below LCAS. A mean that is off by one
rounding (6e-8) moves (p_hat - mu) / sigma by 6e-5 at the floor of sigma; with it s3 was off by up to 5e-2."""


@pytest.mark.parametrize("error", [1e-4, 1e-3, 1e-2])
def test_s3_of_flat_and_nearly_flat_images_survives(error):
    """The second run is off by a constant as well, so that the two differ by more than chance."""
    flat = np.stack([np.full((224, 224, 3), value, np.uint8) for value in (128, 255, 0, 77)])
    nearly = flat.copy()
    nearly[:, -1, -1] ^= 1
    step = np.full((1, 224, 224, 3), 200, np.uint8)
    step[:, :, 112:] += 1
    images, method = np.concatenate([flat, nearly, step]), MethodConfig()
    visible = draw_visible(196, 2, "balanced", 0)
    hats = [hat + np.float32(error / 2 * run) for run, hat in enumerate(reconstructions(images, 16, 2, error))]
    found = {
        "torch": by_torch(images, hats, visible, 16, method)[0],
        "numpy": by_numpy(images, hats, visible, 16, method, np.float32)[0],
        "graph": by_graph(images, hats, visible, 16, method),
    }
    for b, image in enumerate(images):
        stats, _, _ = reference(
            image, [hat[b] for hat in hats], visible, 16, lambda_=method.lambda_, space="unit", stat="mean",
            fidelity="sum",
        )
        for name, values in found.items():
            assert values[b, 2] == pytest.approx(stats[2], rel=FLAT_S3), f"{name}, image {b}"


def test_patch_order_is_row_column_channel():
    image = np.arange(4 * 4 * 3).reshape(1, 4, 4, 3)
    assert numpy_lcas.patchify(image, 2)[0, 1].tolist() == [6, 7, 8, 9, 10, 11, 18, 19, 20, 21, 22, 23]
