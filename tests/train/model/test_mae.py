"""Our masked autoencoder against transformers' ViTMAE: random parameters, every published layout, the same masks."""

import shutil

import pytest
import torch
from cinemae.train.model.mae import sincos_position
from cinemae.train.weights.load import load_backbone
from cinemae.train.weights.shape import FAIR_EPS
from published_layouts import (
    TINY,
    VIT_LARGE,
    fair_shapes,
    fair_state,
    hugging_face_config,
    hugging_face_state,
    write_fair,
    write_hugging_face,
)
from torch import nn
from transformers import ViTMAEForPreTraining
from transformers.models.vit_mae.modeling_vit_mae import build_2d_sinusoidal_position_embedding

TOLERANCE = 1e-4
"""float32: the two sum in another order; outputs are of the order of 1, a mistake is of that order too."""
RANDOM_EPS = 3e-3
"""An eps no default has, so that only reading it from the configuration gives the right outputs."""
LAYOUTS = ("fair", "published", "transformers5")


def reference_outputs(model, images, keep, eps):
    """transformers' reconstruction with exactly the patches `keep` visible, and CLS of the unmasked pass."""
    for module in model.modules():
        if isinstance(module, nn.LayerNorm):
            module.eps = eps
    n = (images.shape[2] // model.config.patch_size) ** 2
    noise = torch.ones(len(images), n)
    noise[:, keep] = torch.arange(len(keep)) / n  # argsort puts these first, in this order
    with torch.no_grad():
        out = model(images, noise=noise)
        assert torch.equal((out.mask[0] == 0).nonzero()[:, 0], keep)
        model.config.mask_ratio = 0.0
        tokens = model.vit(images, noise=torch.arange(n, dtype=torch.float32).expand(len(images), -1)).last_hidden_state
        model.config.mask_ratio = 0.75
    return out.logits, tokens[:, 0]


def our_outputs(mae, images, keep):
    with torch.no_grad():
        return mae.reconstruct(images, keep), mae.encode(images)[:, 0]


def difference(mine, reference):
    return max(float((a - b).abs().max()) for a, b in zip(mine, reference, strict=True))


def write(folder, state, layout, shape, eps):
    folder.mkdir(parents=True, exist_ok=True)
    if layout == "fair":
        return write_fair(folder / "weights.pth", state)
    return write_hugging_face(folder, hugging_face_state(state, layout), hugging_face_config(shape, eps=eps))


def setting(shape, seed, batch):
    generator = torch.Generator().manual_seed(seed)
    n = (shape["image"] // shape["patch"]) ** 2
    images = torch.randn(batch, 3, shape["image"], shape["image"], generator=generator)
    keep = torch.randperm(n, generator=generator)[: n // 4].sort().values
    return images, keep


@pytest.mark.slow
def test_vit_large_agrees_in_every_layout(tmp_path):
    state = fair_state(fair_shapes(**VIT_LARGE))
    images, keep = setting(VIT_LARGE, seed=1, batch=1)
    source = write(tmp_path / "reference", state, "published", VIT_LARGE, RANDOM_EPS)
    model = ViTMAEForPreTraining.from_pretrained(source).eval()
    expected = {eps: reference_outputs(model, images, keep, eps) for eps in (RANDOM_EPS, FAIR_EPS)}
    del model
    assert difference(expected[RANDOM_EPS], expected[FAIR_EPS]) > 10 * TOLERANCE
    for layout in LAYOUTS:
        folder = tmp_path / layout if layout != "published" else tmp_path / "reference"
        path = source if layout == "published" else write(folder, state, layout, VIT_LARGE, RANDOM_EPS)
        loaded = load_backbone(path)
        assert loaded.info.config.name == "vit_large_patch16"
        outputs = our_outputs(loaded.mae, images, keep)
        del loaded
        shutil.rmtree(folder)
        assert difference(outputs, expected[FAIR_EPS if layout == "fair" else RANDOM_EPS]) < TOLERANCE, layout


@pytest.fixture(scope="module")
def tiny():
    """Random state, images [3, ...], visible patches."""
    state = fair_state(fair_shapes(**TINY), seed=2)
    return state, *setting(TINY, seed=3, batch=3)


def tiny_reference(folder, state, images, keep, eps):
    source = write(folder / "reference", state, "published", TINY, RANDOM_EPS)
    return reference_outputs(ViTMAEForPreTraining.from_pretrained(source).eval(), images, keep, eps)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_tiny_agrees_in_every_layout(tmp_path, tiny, layout):
    state, images, keep = tiny
    expected = tiny_reference(tmp_path, state, images, keep, FAIR_EPS if layout == "fair" else RANDOM_EPS)
    loaded = load_backbone(write(tmp_path / "ours", state, layout, TINY, RANDOM_EPS))
    assert difference(our_outputs(loaded.mae, images, keep), expected) < TOLERANCE


def test_one_mask_per_image_agrees_with_one_for_all(tiny, tmp_path):
    state, images, keep = tiny
    mae = load_backbone(write(tmp_path, state, "fair", TINY, FAIR_EPS)).mae
    with torch.no_grad():
        together, each = mae.reconstruct(images, keep), mae.reconstruct(images, keep.expand(len(images), -1))
    assert torch.equal(together, each)


def test_the_check_notices_a_changed_tensor(tmp_path, tiny):
    """Every sort of parameter matters: a value exchanged with its neighbour's shows in the outputs."""
    state, images, keep = tiny
    expected = tiny_reference(tmp_path, state, images, keep, RANDOM_EPS)
    query = "vit.encoder.layer.1.attention.attention.query.bias"
    for one, other in (
        ("vit.encoder.layer.0.layernorm_before.weight", "vit.encoder.layer.0.layernorm_after.weight"),
        ("decoder.decoder_layers.0.output.dense.bias", "decoder.decoder_layers.1.output.dense.bias"),
        (query, query.replace("query", "key")), ("decoder.mask_token", None), ("decoder.decoder_pos_embed", None),
    ):
        mutated = hugging_face_state(state, "published")
        if other:
            mutated[one], mutated[other] = mutated[other].clone(), mutated[one].clone()
        else:
            mutated[one] = mutated[one].roll(1, dims=2)
        path = write_hugging_face(tmp_path / one, mutated, hugging_face_config(TINY, eps=RANDOM_EPS))
        assert difference(our_outputs(load_backbone(path).mae, images, keep), expected) > 10 * TOLERANCE, one


@pytest.mark.parametrize(("right", "wrong"), [(RANDOM_EPS, 1e-12), (1e-12, 1e-6)])
def test_the_check_notices_a_wrong_eps(tmp_path, tiny, right, wrong):
    """Embeddings of variance about 1e-6 make even 1e-12 and 1e-6 differ."""
    state, images, keep = tiny
    small = ("cls_token", "pos_embed", "patch_embed.proj.weight", "patch_embed.proj.bias")
    state = state | {key: state[key] * 1e-3 for key in small}
    expected = tiny_reference(tmp_path, state, images, keep, right)
    for eps, fits in ((right, True), (wrong, False)):
        loaded = load_backbone(write(tmp_path / "ours", state, "published", TINY, eps))
        off = difference(our_outputs(loaded.mae, images, keep), expected)
        assert off < TOLERANCE if fits else off > 10 * TOLERANCE


@pytest.mark.parametrize(("dim", "grid"), [(512, 14), (1280, 16), (32, 4)])
def test_positions_are_those_of_the_reference(dim, grid):
    """transformers builds [sin_h | cos_h | sin_w | cos_w]; MAE's weights have the two halves the other way round."""
    table = build_2d_sinusoidal_position_embedding(grid, grid, dim, cls_token=True)
    expected = torch.cat([table[:, dim // 2 :], table[:, : dim // 2]], dim=1)
    torch.testing.assert_close(sincos_position(dim, grid)[0], expected, rtol=0, atol=1e-6)
