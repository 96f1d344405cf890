"""All masked runs as one batch: the numbers of one run after the other, in pieces of any size, in every precision."""

import numpy as np
import pytest
import torch
from cinemae.runtime.core.errors import WeightsError
from cinemae.runtime.core.manifest import MethodConfig
from cinemae.train.features.cache_spec import draw_mask_sets
from cinemae.train.features.extractor import FeatureExtractor
from cinemae.train.model.lcas import run_sums
from cinemae.train.model.mae import MaskedAutoencoder, patchify
from cinemae.train.model.masked_runs import predict_masked

METHOD = MethodConfig(k=2, mask_sets=3)
FLOAT32 = 2e-5
"""Relative to the largest value: the same float32 products, in matrices of other sizes and another order of tokens."""
HALF = {"bf16": 3e-2, "fp16": 4e-3}
"""Relative to the largest value: four roundings to 8 or 11 bits of mantissa a layer."""
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def mask_sets(tiny_config):
    return draw_mask_sets(tiny_config.n_patches, METHOD)


def one_after_another(mae, images, mask_sets):
    """f_global, sums and context from the plain model, a run at a time."""
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
    mean, std = (torch.tensor(x)[:, None, None] for x in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    inputs, patches = (pixels - mean) / std, patchify(pixels, mae.config.patch_size)
    runs = []
    with torch.inference_mode():
        for seen in torch.from_numpy(mask_sets).flatten(0, 1):
            hidden = torch.tensor([i for i in range(mae.config.n_patches) if i not in seen])
            runs.append(run_sums(patches, mae.reconstruct(inputs, seen), seen, hidden))
        f_global = mae.encode(inputs)[:, 0]
    shape = mask_sets.shape[:2]
    sums = torch.stack([run.sums for run in runs], 1).unflatten(1, shape)
    return f_global.numpy(), sums.numpy(), torch.stack([run.context for run in runs], 1).unflatten(1, shape).numpy()


def assert_close(features, expected, tolerance):
    for mine, theirs in zip((features.f_global, features.sums, features.context), expected, strict=True):
        assert mine.dtype == np.float32
        np.testing.assert_allclose(mine, theirs, rtol=0, atol=tolerance * np.abs(theirs).max())


@pytest.mark.parametrize("rows", [1, 17 * 4, 17 * 6, 17 * 13, None])
def test_one_batch_is_one_run_after_another(rows, tiny_detector, random_images, mask_sets):
    """Pieces of one run, of part of an image's runs, of one image, of two, and of the default size."""
    extractor = FeatureExtractor(tiny_detector.mae, mask_sets, CPU, rows=rows)
    assert_close(extractor(random_images), one_after_another(tiny_detector.mae, random_images, mask_sets), FLOAT32)


@pytest.mark.parametrize("rows", [17 * 6, None])
def test_a_batch_has_a_piece_for_every_thread_and_they_are_given_back(
    rows, tiny_detector, random_images, mask_sets, monkeypatch
):
    pieces, compute = [], FeatureExtractor._compute
    monkeypatch.setattr(FeatureExtractor, "_compute", lambda own, part: pieces.append(part) or compute(own, part))
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        features = FeatureExtractor(tiny_detector.mae, mask_sets, CPU, rows=rows)(random_images)
        assert len(pieces) >= 3
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)
    assert_close(features, one_after_another(tiny_detector.mae, random_images, mask_sets), FLOAT32)


@pytest.mark.parametrize("precision", HALF)
def test_half_precision_keeps_float32_where_it_counts(precision, tiny_detector, random_images, mask_sets):
    """On a processor, where both are slow: the same code as on a GPU."""
    features = FeatureExtractor(tiny_detector.mae, mask_sets, CPU, precision)(random_images)
    expected = one_after_another(tiny_detector.mae, random_images, mask_sets)
    assert_close(features, expected, HALF[precision])
    np.testing.assert_allclose(features.context, expected[2], rtol=0, atol=FLOAT32)
    assert np.abs(features.f_global - expected[0]).max() > 0, "the products were rounded"


def test_attention_is_fused(tiny_detector):
    blocks = [*tiny_detector.mae.blocks, *tiny_detector.mae.decoder_blocks]
    assert all(block.attn.fused_attn for block in blocks), "timm calls scaled_dot_product_attention"


def test_an_encoder_alone_is_refused(tiny_config, mask_sets):
    alone = MaskedAutoencoder(tiny_config.model_copy(update={"decoder_depth": 0}))
    runs = torch.from_numpy(mask_sets[0])
    with pytest.raises(WeightsError, match="no decoder"):
        predict_masked(alone, torch.zeros(1, tiny_config.n_patches, tiny_config.encoder_dim), runs, runs)
