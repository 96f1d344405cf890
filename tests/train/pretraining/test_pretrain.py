"""Pretraining: the loss falls, a run resumes, damaged files are passed over, a time bound ends it annealed."""

import json
import logging
from dataclasses import replace
from itertools import count

import numpy as np
import pytest
import torch
from cinemae.runtime.core.errors import UsageError
from cinemae.train.model.mae import MaskedAutoencoder, patchify
from cinemae.train.pretraining import pretrain as module
from cinemae.train.pretraining.photo_folder import PhotoFolder
from cinemae.train.pretraining.pretrain import (
    PretrainConfig,
    autocast_dtype,
    learning_rate,
    masked_loss,
    optimiser,
    pretrain,
    random_visible,
    seconds_left,
)
from cinemae.train.weights.load import load_backbone
from PIL import Image

RECIPE = PretrainConfig(epochs=25, batch_size=8, micro_batch=3, lr=5e-3, workers=0, precision="fp32")


@pytest.fixture
def photos(tmp_path):
    """16 smooth pictures in two folders, one of them a `.JPEG`."""
    folder = tmp_path / "photos"
    (folder / "b").mkdir(parents=True)
    x = np.linspace(0, 1, 96)
    for i in range(16):
        colour = np.stack(
            [np.outer(x, x) * 200 + i, np.outer(x, x[::-1]) * 150 + 5 * i, np.full((96, 96), 12.0 * i)], axis=2
        )
        Image.fromarray(colour.astype(np.uint8)).save(
            folder / ("b" if i % 2 else ".") / f"{i}{'.JPEG' if i == 3 else '.png'}"
        )
    return folder


def curve_of(out):
    return json.loads((out / "pretrain.json").read_text())["curve"]


@pytest.mark.slow
def test_the_loss_falls_and_the_weights_load(tmp_path, photos, tiny_config):
    weights = pretrain([photos], tmp_path / "out", tiny_config, replace(RECIPE, epochs=60))
    curve = curve_of(tmp_path / "out")
    assert len(curve) == 2  # 120 steps, one entry for every 50
    assert curve[-1][1] < 0.8 * curve[0][1]
    loaded = load_backbone(weights)
    assert loaded.info.config == tiny_config
    assert load_backbone(tmp_path / "out").info == loaded.info.model_copy(update={"source": str(tmp_path / "out")})


@pytest.mark.slow
def test_a_run_goes_on_where_it_was(tmp_path, photos, tiny_config, caplog):
    """The same command again changes nothing; with more epochs it trains on; another backbone is refused."""
    out, first = tmp_path / "out", replace(RECIPE, epochs=3)
    weights = pretrain([photos], out, tiny_config, first)
    content = weights.read_bytes()
    pretrain([photos], out, tiny_config, first)
    assert weights.read_bytes() == content
    with pytest.raises(UsageError, match="another backbone"):
        pretrain([photos], out, tiny_config.model_copy(update={"encoder_depth": 2}), first)
    before = torch.load(out / "state.pt", weights_only=True)
    with caplog.at_level(logging.INFO, "cinemae.train"):
        pretrain([photos], out, tiny_config, RECIPE)
    after = torch.load(out / "state.pt", weights_only=True)
    assert (before["step"], after["step"]) == (6, 50)
    assert "resumed at step 6" in caplog.text
    assert after["seconds"] > before["seconds"]
    assert after["optimiser"]["state"][0]["step"] == 50


def test_damaged_files_are_passed_over_and_named(tmp_path, photos, tiny_config, caplog):
    (photos / "damaged.jpg").write_bytes(b"no image")
    (photos / "notes.txt").write_text("ignored")
    assert len(PhotoFolder([photos], 64, 0.2)) == 17
    pretrain([photos], tmp_path / "out", tiny_config, replace(RECIPE, epochs=2))
    assert "damaged.jpg" in caplog.text
    assert "notes.txt" not in caplog.text


@pytest.mark.parametrize(("files", "words"), [(0, "no images"), (3, "lower --batch-size"), (8, "none of the images")])
def test_folders_without_enough_readable_images_are_refused(tmp_path, tiny_config, files, words):
    for i in range(files):
        (tmp_path / f"{i}.jpg").write_bytes(b"no image")
    with pytest.raises(UsageError, match=words):
        pretrain([tmp_path], tmp_path / "out", tiny_config, RECIPE)


def test_a_time_bound_ends_the_run_annealed(tmp_path, photos, tiny_config, monkeypatch):
    """The clock moves 0.5 s a reading; one minute ends the run long before its 10,000 epochs, with a rate near zero."""
    now, rates = count(0.0, 0.5), []
    monkeypatch.setattr(module.time, "monotonic", lambda: next(now))
    monkeypatch.setattr(module, "learning_rate", lambda *given: rates.append(learning_rate(*given)) or rates[-1])
    recipe = replace(RECIPE, epochs=10_000, max_minutes=1.0)
    pretrain([photos], tmp_path / "out", tiny_config, recipe)
    record = json.loads((tmp_path / "out" / "pretrain.json").read_text())
    assert record["steps"] == len(rates) < 100
    assert rates[-1] < 0.05 * max(rates)


def test_the_schedule_warms_up_and_anneals_to_zero():
    config = PretrainConfig(lr=1.0, warmup=0.1)
    assert [round(learning_rate(p, config), 6) for p in (0, 0.05, 0.1, 0.55, 1.0, 1.5)] == [0, 0.5, 1, 0.5, 0, 0]


def test_the_loss_is_the_mean_square_on_masked_patches(tiny_config):
    model = MaskedAutoencoder(tiny_config)
    images = torch.randn(2, 3, 64, 64)
    keep = random_visible(2, tiny_config, torch.Generator().manual_seed(0))
    assert keep.shape == (2, 4)
    with torch.no_grad():
        difference = (model.reconstruct(images, keep) - patchify(images, 16)).double().numpy() ** 2
        loss = float(masked_loss(model, images, keep))
    hidden = [difference[b, i].mean() for b in range(2) for i in range(16) if i not in keep[b].tolist()]
    assert loss == pytest.approx(sum(hidden) / len(hidden), rel=1e-5)


def test_small_slices_give_the_gradient_of_the_whole_batch(tmp_path, photos, tiny_config):
    """Two runs that differ in the slice alone end with the same weights, to rounding."""
    results = []
    for micro in (8, 3):
        recipe = replace(RECIPE, epochs=1, micro_batch=micro, lr=1e-3)
        path = pretrain([photos], tmp_path / str(micro), tiny_config, recipe)
        results.append(load_backbone(path).mae.state_dict())
    assert max(float((results[0][key] - results[1][key]).abs().max()) for key in results[0]) < 1e-4


def test_weight_decay_spares_biases_norms_and_tokens(tiny_config):
    model = MaskedAutoencoder(tiny_config)
    names = {id(p): name for name, p in model.named_parameters()}
    decayed, plain = ([names[id(p)] for p in group["params"]] for group in optimiser(model, RECIPE).param_groups)
    assert all(name.endswith("weight") and "norm" not in name for name in decayed)
    assert {"cls_token", "mask_token", "norm.weight", "blocks.0.attn.qkv.bias"} <= set(plain)
    assert not {"pos_embed", "decoder_pos_embed"} & {*decayed, *plain}


def test_precisions(monkeypatch):
    cpu = torch.device("cpu")
    assert autocast_dtype("fp32", cpu) is None
    assert autocast_dtype("bf16", cpu) is torch.bfloat16
    for features, expected in ((["avx2"], None), (["amx_bf16"], torch.bfloat16)):
        monkeypatch.setattr(module, "cpu_features", lambda found=features: found)
        assert autocast_dtype("auto", cpu) is expected
    with pytest.raises(UsageError, match="--precision 'fp8'"):
        PretrainConfig(precision="fp8")


def test_the_time_left_is_that_of_the_end_that_comes_first():
    """A run of at most 75 minutes that was stopped after 60 has 15 left, however fast it once was."""
    recipe = PretrainConfig(max_minutes=75)
    assert seconds_left(recipe, steps=10_000, done=10, elapsed=60, before=3600) == 840
    assert seconds_left(recipe, steps=50, done=10, elapsed=60, before=3600) == 300
    assert seconds_left(recipe, steps=50, done=0, elapsed=0, before=4500) == 0
    assert seconds_left(PretrainConfig(), steps=100, done=10, elapsed=60) == 600
