"""The global encoder: weights from a file and from the hub, timm's own numbers, and what is refused."""

from __future__ import annotations

import json

import huggingface_hub
import pytest
import timm
import torch
from cinemae.runtime.core.errors import WeightsError
from cinemae.runtime.core.files import file_sha256
from cinemae.runtime.core.manifest import Backbone
from cinemae.train.model.global_encoder import resize_matrix
from cinemae.train.weights.timm_encoder import describe_encoder, recorded_encoder
from safetensors.torch import load_file, save_file
from timm_files import PLAIN, REGISTERS, ROTARY, write_timm
from torch.nn.functional import interpolate

FAMILIES = (
    "vit_small_patch14_dinov2", "vit_small_patch14_reg4_dinov2", "vit_small_patch16_dinov3",
    "vit_pe_core_tiny_patch16_384", "vit_base_patch16_siglip_224.v2_webli", "vit_base_patch32_clip_224.openai",
    "eva02_tiny_patch14_224",
)
"""DINOv2, the same with registers, DINOv3, Perception Encoder, SigLIP 2, CLIP, EVA-02."""


def loaded(source, config):
    beside = describe_encoder(source)
    backbone = Backbone(config=config, source="s", sha256="0" * 64, licence="MIT", global_encoder=beside)
    return recorded_encoder(backbone), beside


@pytest.mark.parametrize("name", [PLAIN, REGISTERS, ROTARY])
def test_the_feature_is_that_of_timm_from_the_same_file(tmp_path, tiny_config, name):
    source = write_timm(tmp_path / "w.safetensors", name, "MIT", classes=10)
    encoder, info = loaded(source, tiny_config)
    overlay = {"file": str(tmp_path / "w.safetensors"), "num_classes": 10}
    reference = timm.create_model(name, pretrained=True, pretrained_cfg_overlay=overlay, num_classes=0).eval()
    data = timm.data.resolve_model_data_config(reference)
    pixels = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    size = data["input_size"][1:]
    resized = interpolate(pixels, size=size, mode="bicubic", antialias=True).clamp(0, 1)
    mean, std = (torch.tensor(data[key])[:, None, None] for key in ("mean", "std"))
    with torch.no_grad():
        expected, found = reference((resized - mean) / std), encoder(pixels)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    assert (info.size, info.mean, info.std, info.dim) == (size[0], data["mean"], data["std"], found.shape[1])
    assert (info.source, info.sha256, info.licence) == (source, file_sha256(tmp_path / "w.safetensors"), "MIT")


@pytest.mark.slow
@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_is_built_from_random_weights(tmp_path, tiny_config, name):
    encoder, info = loaded(write_timm(tmp_path / "w.safetensors", name), tiny_config)
    with torch.no_grad():
        found = encoder(torch.rand(1, 3, tiny_config.image_size, tiny_config.image_size))
    assert found.shape == (1, info.dim)
    assert found.isfinite().all()
    assert info.licence == "unknown", "the name of an architecture says nothing of a file's licence"


def test_a_name_is_fetched_from_timms_repository(tmp_path, monkeypatch, tiny_config):
    write_timm(tmp_path / "model.safetensors", PLAIN, classes=1000)
    card = {"architecture": PLAIN, "pretrained_cfg": {"tag": "r160_in1k", "license": "cc-by-nc-4.0"}}
    (tmp_path / "config.json").write_text(json.dumps(card))
    asked = []

    def download(repository, name, local_files_only=False):
        asked.append((repository, name))
        return str(tmp_path / name)

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    for source in (PLAIN, f"timm/{PLAIN}.r160_in1k", f"hf-hub:timm/{PLAIN}"):
        info = loaded(source, tiny_config)[1]
        assert (info.source, info.licence) == (source, "CC-BY-NC-4.0")
    assert set(asked) == {(f"timm/{PLAIN}.r160_in1k", name) for name in ("config.json", "model.safetensors")}


def test_other_weights_at_the_recorded_place_are_refused(tmp_path, tiny_config):
    source = write_timm(tmp_path / "w.safetensors", PLAIN)
    beside = describe_encoder(source)
    write_timm(tmp_path / "w.safetensors", PLAIN, "MIT")
    backbone = Backbone(config=tiny_config, source="s", sha256="0" * 64, licence="MIT", global_encoder=beside)
    with pytest.raises(WeightsError, match="not the global encoder that the features were made with"):
        recorded_encoder(backbone)


def test_refusals_name_the_fix(tmp_path):
    path = tmp_path / "w.safetensors"
    source = write_timm(path, PLAIN)
    state = load_file(path)

    def refused(source, *texts):
        with pytest.raises(WeightsError) as error:
            describe_encoder(source)
        assert all(text in str(error.value) for text in texts), error.value

    refused("vit_tiny_patch16_dinov3", "has no model 'vit_tiny_patch16_dinov3'", "vit_tiny_patch16_dinov3_qkvb")
    refused(f"{REGISTERS}:{path}", "missing: ")
    refused(f"{PLAIN}:{tmp_path / 'gone.safetensors'}", "no such file")
    save_file({**state, "more": torch.zeros(1)}, path)
    refused(source, "not used: more")
    save_file({**state, "norm.bias": state["norm.bias"] * torch.nan}, path)
    refused(source, "norm.bias is not finite")
    refused("vit_base_patch16_siglip_gap_224.unknown_tag", "vit_base_patch16_siglip_gap_224")


@pytest.mark.parametrize(("source", "target"), [(224, 256), (224, 518), (64, 160), (224, 196)])
def test_the_resize_is_torchs_antialiased_bicubic(source, target):
    pixels = torch.rand(1, 3, source, source, generator=torch.Generator().manual_seed(1))
    axis = resize_matrix(source, target)
    expected = interpolate(pixels, size=(target, target), mode="bicubic", antialias=True)
    torch.testing.assert_close(axis @ pixels @ axis.T, expected, rtol=0, atol=1e-5)
    torch.testing.assert_close(axis.sum(1), torch.ones(target))
