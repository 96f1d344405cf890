"""The packed module is exact: every K, depth, patch size and method variant against the training model."""

from typing import get_args

import numpy as np
import pytest
import torch
from cinemae.export.graph.packed import PackedDetector
from cinemae.runtime.core.manifest import BackboneConfig, Fusion, HeadConfig, MethodConfig
from cinemae.runtime.core.masks import draw_visible
from cinemae.train.model.presets import PRESETS
from random_parameters import randomise
from untrained import untrained_detector

FP32_RELATIVE = 2e-5
"""The same float32 sums in another order, through a few layers; measured about 1e-6."""

FP16_RELATIVE = 1e-2
"""Eleven bits of mantissa through a few layers; measured about 1e-3."""


def build(k=2, depth=2, patch=16, head=None, **method):
    """A random detector: 4 x 4 patches of 16, or of 14 as in ViT-H."""
    config = BackboneConfig(
        image_size=4 * patch, patch_size=patch, encoder_dim=32, encoder_depth=depth, encoder_heads=2,
        decoder_dim=16, decoder_depth=depth, decoder_heads=2, norm_eps=1e-12,
    )
    settings = MethodConfig(k=k, **method)
    visible = draw_visible(config.n_patches, k, settings.mask_strategy, settings.mask_seed)
    head = head or HeadConfig(**SMALL_HEAD)
    detector = untrained_detector(config, settings, visible, head)
    randomise(detector, seed=k)
    return detector


def images(detector, count=3):
    size = detector.mae.config.image_size
    return torch.from_numpy(np.random.default_rng(1).integers(0, 256, (count, size, size, 3), dtype=np.uint8))


def assert_same(detector, packed, tolerance):
    x = images(detector)
    with torch.no_grad():
        expected, found = detector(x), packed(x)
    for name, a, b in zip(expected._fields, expected, found, strict=True):
        assert b.dtype == torch.float32
        scale = a.nan_to_num().abs().max().clamp_min(1).item()
        limits = {"rtol": tolerance, "atol": tolerance * scale, "equal_nan": True}
        torch.testing.assert_close(b, a, **limits, msg=lambda text, name=name: f"{name}: {text}")


SMALL_HEAD = {"agg_hidden": (8, 12), "cls_hidden": 10}
VARIANTS = [
    *({"k": k, "patch": patch} for k in range(1, 9) for patch in (14, 16)),
    *({"depth": depth} for depth in (1, 3)),  # the first block may be the last
    {"pixel_space": "imagenet"}, {"stat_reduction": "sum"}, {"fidelity_reduction": "mean"}, {"lambda_": 0.0},
    {"mask_strategy": "independent", "mask_seed": 3}, {"f_global": "mean"},
    *({"head": HeadConfig(fusion=fusion, **SMALL_HEAD)} for fusion in get_args(Fusion)),
    {"head": HeadConfig(statistics=(), cls_hidden=10)},
    *({"head": HeadConfig(kind="logistic", statistics=chosen)} for chosen in (("s1", "s2", "s3"), ("s2",), ())),
]


@pytest.mark.parametrize("variant", VARIANTS, ids=str)
def test_every_variant_of_geometry_method_and_head(variant):
    detector = build(**variant)
    assert_same(detector, PackedDetector(detector), FP32_RELATIVE)


def test_half_precision_keeps_lcas_and_head_in_float32():
    detector = build()
    packed = PackedDetector(detector, torch.float16)
    assert_same(detector, packed, FP16_RELATIVE)
    assert packed.encoder.blocks[0].fc1.weight.dtype == torch.float16
    assert packed.head.mlp_cls[0].weight.dtype == torch.float32
    assert packed.encoder.norm.norm.weight.dtype == torch.float32


def test_never_masked_patch_is_nan_in_both():
    detector = build(k=1)
    x = images(detector)
    with torch.no_grad():
        found = PackedDetector(detector)(x).lcas
    assert torch.equal(found.isnan().any(0), torch.zeros(16, dtype=torch.bool).index_fill(0, detector.visible[0], True))


def test_presets_are_the_papers_geometry():
    huge = PRESETS["vit_huge_patch14"]
    assert (huge.n_patches, huge.patch_values, huge.n_visible) == (256, 588, 64)


def test_training_model_is_left_alone():
    detector = build()
    before = {name: value.clone() for name, value in detector.state_dict().items()}
    PackedDetector(detector, torch.float16)(images(detector))
    assert all(torch.equal(before[name], value) for name, value in detector.state_dict().items())
