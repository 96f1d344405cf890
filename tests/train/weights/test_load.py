"""Backbone weights that load: every published layout, the encoder alone, the hub, licences."""

import hashlib
import socket

import huggingface_hub
import pytest
import torch
from cinemae.runtime.core.errors import WeightsError
from cinemae.train.model.mae import MaskedAutoencoder
from cinemae.train.model.presets import PRESETS
from cinemae.train.weights import locate
from cinemae.train.weights.load import load_backbone
from cinemae.train.weights.save import save_backbone
from cinemae.train.weights.shape import FAIR_EPS, HUGGING_FACE_EPS, infer_config
from huggingface_hub.errors import LocalEntryNotFoundError, RemoteEntryNotFoundError
from published_layouts import (
    PREFIXES,
    TINY,
    fair_shapes,
    hugging_face_config,
    hugging_face_state,
    write_fair,
    write_hugging_face,
    write_shards,
)
from safetensors.torch import save_file
from weights_checks import assert_same, refused


def encoder_only(state):
    return {key: value for key, value in state.items() if not key.startswith(("decoder_", "mask_token"))}


def test_fair_file_loads_exactly(tmp_path, state):
    path = write_fair(tmp_path / "mae_visualize_vit_tiny.pth", state)
    loaded = load_backbone(path)
    assert_same(loaded.mae, state)
    assert loaded.info.config.norm_eps == FAIR_EPS == loaded.mae.norm.eps == loaded.mae.decoder_blocks[0].norm1.eps
    assert (loaded.info.config.encoder_heads, loaded.info.config.decoder_heads) == (2, 2)
    assert loaded.info.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert not loaded.mae.training
    assert not any(p.requires_grad for p in loaded.mae.parameters())


def test_bare_tensors_in_the_old_torch_format_load_and_halves_are_widened(tmp_path, state):
    half = {key: value.half() for key, value in state.items()}
    torch.save(half, tmp_path / "bare.pth", _use_new_zipfile_serialization=False)
    assert_same(load_backbone(tmp_path / "bare.pth").mae, {key: value.float() for key, value in half.items()})


@pytest.mark.parametrize("wrapper", ["module.", "_orig_mod.", "_orig_mod.module."])
def test_wrappers_of_torch_leave_prefixes_that_do_not_matter(tmp_path, state, wrapper):
    hugging_face = hugging_face_state(state, "published")
    for number, keys in enumerate((state, hugging_face)):
        path = write_fair(tmp_path / f"{number}.pth", {f"{wrapper}{key}": value for key, value in keys.items()})
        assert_same(load_backbone(path).mae, state)


@pytest.mark.parametrize("weights", ["model.safetensors", "pytorch_model.bin"])
@pytest.mark.parametrize("layout", PREFIXES)
def test_hugging_face_folder_and_file_load_exactly(tmp_path, state, layout, weights):
    config = hugging_face_config(TINY, eps=1e-3, heads=4, decoder_heads=8)
    folder = write_hugging_face(tmp_path / "hf", hugging_face_state(state, layout), config, weights)
    for source in (folder, folder / weights):
        loaded = load_backbone(source)
        assert_same(loaded.mae, state)
        assert loaded.info.config.norm_eps == 1e-3 == loaded.mae.blocks[1].norm2.eps
        assert (loaded.info.config.encoder_heads, loaded.info.config.decoder_heads) == (4, 8)


@pytest.mark.parametrize("layout", ["published", "transformers5"])
def test_transformers_itself_reads_these_fixtures_and_what_it_saves_loads(tmp_path, state, config, layout):
    from transformers import ViTMAEForPreTraining

    folder = write_hugging_face(tmp_path / "hf", hugging_face_state(state, layout), config)
    model, report = ViTMAEForPreTraining.from_pretrained(folder, output_loading_info=True)
    assert not any(report[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    model.save_pretrained(tmp_path / "saved")
    assert_same(load_backbone(tmp_path / "saved").mae, state)


def test_timm_agrees_with_the_encoder_fixture():
    import timm

    with torch.device("meta"):
        model = timm.create_model("vit_base_patch16_224.mae", pretrained=False)
    shapes = fair_shapes(image=224, patch=16, dim=768, depth=12, decoder_dim=512, decoder_depth=8)
    assert {key: tuple(value.shape) for key, value in model.state_dict().items()} == encoder_only(shapes)


def test_shards_load_and_their_hash_does_not_depend_on_order(tmp_path, state, config):
    folder = write_shards(tmp_path / "hf", hugging_face_state(state, "published"), config)
    loaded = load_backbone(folder)
    assert_same(loaded.mae, state)
    digests = sorted(hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.glob("*.safetensors"))
    assert loaded.info.sha256 == hashlib.sha256("".join(digests).encode()).hexdigest()
    assert_same(load_backbone(folder / "model.safetensors.index.json").mae, state)


@pytest.mark.parametrize("half", [False, True])
def test_own_file_and_its_folder_load_with_configuration_and_licence(tmp_path, tiny_config, half):
    mae, path = MaskedAutoencoder(tiny_config), tmp_path / "backbone.safetensors"
    save_backbone(mae, path, licence="Apache-2.0", half=half)
    kept = {key: value.half().float() if half else value for key, value in mae.state_dict().items()}
    for source in (tmp_path, path):
        loaded = load_backbone(source)
        assert_same(loaded.mae, kept)
        assert (loaded.info.config, loaded.info.licence) == (tiny_config, "Apache-2.0")
    assert (path.stat().st_size < 3 * sum(value.numel() for value in kept.values())) == half


@pytest.mark.data
def test_a_pretrained_file_loads_and_reconstructs(data_root):
    path = data_root.parent / "weights" / "mae_tiny_fair.pth"
    if not path.is_file():
        pytest.skip("the pretrained small masked autoencoder is not beside the data")
    loaded = load_backbone(path)
    assert loaded.info.config == PRESETS["vit_tiny_patch16"]
    expected = fair_shapes(image=224, patch=16, dim=192, depth=12, decoder_dim=128, decoder_depth=4)
    assert {key: tuple(value.shape) for key, value in loaded.mae.state_dict().items()} == expected


@pytest.mark.parametrize("name", ["vit_base_patch16", "vit_large_patch16", "vit_huge_patch14", "vit_tiny_patch16"])
def test_presets_are_recognised_by_shape(name):
    preset = PRESETS[name]
    sizes = (preset.image_size, preset.patch_size, preset.encoder_dim, preset.encoder_depth)
    shapes = fair_shapes(*sizes, preset.decoder_dim, preset.decoder_depth)
    meta = {key: torch.empty(shape, device="meta") for key, shape in shapes.items()}
    assert infer_config(meta, {}, {}, FAIR_EPS, name) == preset
    assert infer_config(meta, {}, {}, HUGGING_FACE_EPS, name).norm_eps == 1e-12
    encoder = infer_config(encoder_only(meta), {}, {}, FAIR_EPS, name)
    assert (encoder.name, encoder.encoder_heads, encoder.decoder_depth) == (name, preset.encoder_heads, 0)


@pytest.mark.parametrize("kind", ["fair", "timm", "hugging_face_bare", "full_file", "normalised"])
def test_encoder_alone_loads_when_no_decoder_is_asked_for(tmp_path, state, config, kind):
    encoder = encoder_only(state)
    if kind == "fair":
        source = write_fair(tmp_path / "mae_pretrain_vit_tiny.pth", encoder)
    elif kind == "timm":
        source = tmp_path / "timm.safetensors"
        save_file(encoder | {"head.weight": torch.ones(10, 128), "head.bias": torch.ones(10)}, source)
    elif kind == "hugging_face_bare":
        hf = hugging_face_state(state, "published")
        bare = {key.removeprefix("vit."): value for key, value in hf.items() if key.startswith("vit.")}
        source = write_hugging_face(tmp_path / "hf", bare, config)
    else:
        name = "mae_pretrain_vit_tiny_full.pth" if kind == "normalised" else "all.pth"
        source = write_fair(tmp_path / name, state)
    loaded = load_backbone(source, decoder=False)
    assert_same(loaded.mae, encoder)
    assert loaded.mae.encode(torch.zeros(1, 3, 64, 64)).shape == (1, 17, 128)
    with pytest.raises(WeightsError, match="no decoder"):
        loaded.mae.reconstruct(torch.zeros(1, 3, 64, 64), torch.arange(4))
    save_backbone(loaded.mae, tmp_path / "again.safetensors")
    assert load_backbone(tmp_path / "again.safetensors", decoder=False).info.config == loaded.info.config
    refused(tmp_path / "again.safetensors", "encoder only", "mae_visualize_vit")


def fake_hub(monkeypatch, folder, asked):
    def download(repository, name, **_):
        asked.append((repository, name))
        if folder is None or not (folder / name).is_file():
            raise LocalEntryNotFoundError(name)
        return str(folder / name)

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)


@pytest.mark.parametrize("shards", [False, True])
def test_hub_ids_are_fetched(tmp_path, monkeypatch, state, config, shards):
    hf = hugging_face_state(state, "published")
    if shards:
        folder = write_shards(tmp_path, hf, config)
    else:
        folder = write_hugging_face(tmp_path, hf, config, "pytorch_model.bin")
    asked = []
    fake_hub(monkeypatch, folder, asked)
    loaded = load_backbone("facebook/vit-mae-large")
    assert_same(loaded.mae, state)
    assert {repository for repository, _ in asked} == {"facebook/vit-mae-large"}
    assert (loaded.info.source, loaded.info.licence) == ("facebook/vit-mae-large", "CC-BY-NC-4.0")


def test_timm_names_go_to_the_hub(tmp_path, monkeypatch, state):
    save_file(encoder_only(state), tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text('{"architecture": "vit_base_patch16_224", "pretrained_cfg": {"tag": "mae"}}')
    asked = []
    fake_hub(monkeypatch, tmp_path, asked)
    loaded = load_backbone("vit_base_patch16_224.mae", decoder=False)
    assert_same(loaded.mae, encoder_only(state))
    assert asked[0] == ("timm/vit_base_patch16_224.mae", "config.json")
    assert (loaded.info.config.norm_eps, loaded.info.licence) == (1e-6, "CC-BY-NC-4.0")
    with pytest.raises(WeightsError, match="encoder only"):
        load_backbone("timm/vit_base_patch16_224.mae")


def test_without_a_network_the_hub_is_asked_once(tmp_path, monkeypatch):
    asked, real = [], huggingface_hub.hf_hub_download

    def download(*names, local_files_only):
        asked.append(local_files_only)
        return real(*names, local_files_only=local_files_only)

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    for name in ("http_proxy", "HTTP_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", f"http://127.0.0.1:{server.getsockname()[1]}")
        assert not locate._is_offline()
    assert locate._is_offline()
    refused("facebook/vit-mae-large", "cannot be reached", "hf download facebook/vit-mae-large --local-dir")
    assert asked == [True]


def test_hub_problems_are_explained(tmp_path, monkeypatch, config):
    fake_hub(monkeypatch, None, [])
    refused("facebook/vit-mae-large", "cannot be reached", "hf download facebook/vit-mae-large --local-dir")
    (tmp_path / "config.json").write_text("{}")
    fake_hub(monkeypatch, tmp_path, [])
    refused("someone/model", "no weights could be fetched")

    def fails(repository, name, **_):
        raise OSError("connection reset")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", fails)
    refused("someone/model", "connection reset")
    assert issubclass(RemoteEntryNotFoundError, huggingface_hub.errors.EntryNotFoundError)


@pytest.mark.parametrize(
    ("name", "licence"),
    [("mae_visualize_vit_large.pth", "CC-BY-NC-4.0"), ("mae_visualize_vit_large_ganloss.pth", "CC-BY-NC-4.0"),
     ("mae_visualize_vit_tiny.pth", "unknown")],
)
def test_licence_of_fair_files(tmp_path, state, name, licence):
    assert load_backbone(write_fair(tmp_path / name, state)).info.licence == licence


@pytest.mark.parametrize(("name", "stated"), [("vit-mae-huge", {}), ("hf", {"license": "cc-by-nc-4.0"})])
def test_licence_of_a_downloaded_folder_and_of_a_stated_one(tmp_path, state, name, stated):
    config = hugging_face_config(TINY, **stated)
    folder = write_hugging_face(tmp_path / name, hugging_face_state(state, "published"), config)
    assert load_backbone(folder).info.licence == "CC-BY-NC-4.0"
