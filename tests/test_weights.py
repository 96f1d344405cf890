"""Loading backbone weights: every published layout, every refusal, damaged and hostile files."""

import argparse
import hashlib
import os
import pickle

import huggingface_hub
import pytest
import torch
from cinemae.runtime.errors import WeightsError
from cinemae.train.mae import PRESETS, MaskedAutoencoder
from cinemae.train.pretrain import save_backbone
from cinemae.train.weights import FAIR_EPS, HUGGING_FACE_EPS, infer_config, load_backbone
from huggingface_hub.errors import LocalEntryNotFoundError, RemoteEntryNotFoundError
from published_layouts import (
    PREFIXES,
    TINY,
    fair_shapes,
    fair_state,
    hugging_face_config,
    hugging_face_state,
    write_fair,
    write_hugging_face,
    write_shards,
)
from safetensors.torch import save_file


@pytest.fixture(scope="module")
def state():
    return fair_state(fair_shapes(**TINY))


@pytest.fixture
def config():
    return hugging_face_config(TINY)


def encoder_only(state):
    return {key: value for key, value in state.items() if not key.startswith(("decoder_", "mask_token"))}


def assert_same(mae, state):
    loaded = mae.state_dict()
    assert loaded.keys() == state.keys()
    for key, value in state.items():
        assert torch.equal(loaded[key], value), key


def refused(source, *words, **options):
    with pytest.raises(WeightsError) as caught:
        load_backbone(source, **options)
    for word in (*words, os.path.basename(str(source))):
        assert word in str(caught.value)


# every layout -------------------------------------------------------------------------------------------------------


def test_fair_file_loads_exactly(tmp_path, state):
    path = write_fair(tmp_path / "mae_visualize_vit_tiny.pth", state)
    loaded = load_backbone(path)
    assert_same(loaded.mae, state)
    assert loaded.info.config.norm_eps == FAIR_EPS == loaded.mae.norm.eps == loaded.mae.decoder_blocks[0].norm1.eps
    assert (loaded.info.config.encoder_heads, loaded.info.config.decoder_heads) == (2, 2)
    assert loaded.info.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert not loaded.mae.training
    assert not any(p.requires_grad for p in loaded.mae.parameters())


def test_fair_tensors_without_wrapper_and_in_the_old_torch_format_load(tmp_path, state):
    torch.save(state, tmp_path / "bare.pth", _use_new_zipfile_serialization=False)
    assert_same(load_backbone(tmp_path / "bare.pth").mae, state)


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
def test_transformers_itself_reads_these_fixtures(tmp_path, state, config, layout):
    from transformers import ViTMAEForPreTraining

    folder = write_hugging_face(tmp_path / "hf", hugging_face_state(state, layout), config)
    _, report = ViTMAEForPreTraining.from_pretrained(folder, output_loading_info=True)
    assert not any(report[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))


def test_what_transformers_saves_loads(tmp_path, state, config):
    from transformers import ViTMAEForPreTraining

    folder = write_hugging_face(tmp_path / "hf", hugging_face_state(state, "published"), config)
    ViTMAEForPreTraining.from_pretrained(folder).save_pretrained(tmp_path / "saved")
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


def test_own_file_and_its_folder_load_with_configuration_and_licence(tmp_path, tiny_config):
    mae = MaskedAutoencoder(tiny_config)
    save_backbone(mae, tmp_path / "backbone.safetensors", licence="Apache-2.0")
    for source in (tmp_path, tmp_path / "backbone.safetensors"):
        loaded = load_backbone(source)
        assert_same(loaded.mae, mae.state_dict())
        assert loaded.info.config == tiny_config
        assert loaded.info.licence == "Apache-2.0"


def test_half_precision_is_widened(tmp_path, state):
    half = {key: value.half() for key, value in state.items()}
    loaded = load_backbone(write_fair(tmp_path / "half.pth", half))
    assert_same(loaded.mae, {key: value.float() for key, value in half.items()})


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


# the encoder alone --------------------------------------------------------------------------------------------------


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
    refused(tmp_path / "again.safetensors", "encoder only")


def test_encoder_alone_is_refused_where_the_decoder_is_needed(tmp_path, state):
    refused(
        write_fair(tmp_path / "mae_pretrain_vit_tiny.pth", encoder_only(state)), "encoder only", "mae_visualize_vit"
    )


# normalised targets -------------------------------------------------------------------------------------------------


def normalised(tmp_path, state, kind):
    if kind == "name":
        return write_fair(tmp_path / "mae_pretrain_vit_large_full.pth", state)
    if kind == "arguments":
        path = tmp_path / "checkpoint-799.pth"
        torch.save({"model": state, "epoch": 799, "args": argparse.Namespace(norm_pix_loss=True, model="mae")}, path)
        return path
    config = hugging_face_config(TINY, norm_pix_loss=True)
    return write_hugging_face(tmp_path / "hf", hugging_face_state(state, "published"), config)


@pytest.mark.parametrize("kind", ["name", "arguments", "config"])
def test_normalised_targets_are_refused_unless_allowed(tmp_path, state, kind):
    source = normalised(tmp_path, state, kind)
    refused(source, "normalised patch by patch", "mae_visualize_vit", "allow_normalised_target=True")
    assert_same(load_backbone(source, allow_normalised_target=True).mae, state)


def test_raw_targets_in_a_training_checkpoint_load(tmp_path, state):
    torch.save({"model": state, "args": argparse.Namespace(norm_pix_loss=False)}, tmp_path / "checkpoint.pth")
    assert_same(load_backbone(tmp_path / "checkpoint.pth").mae, state)


# keys ---------------------------------------------------------------------------------------------------------------


def layout_state(state, layout):
    return dict(state) if layout == "fair" else hugging_face_state(state, layout)


def write_layout(tmp_path, changed, layout):
    if layout == "fair":
        return write_fair(tmp_path / "weights.pth", changed)
    return write_hugging_face(tmp_path / "hf", changed, hugging_face_config(TINY))


LAYOUTS = ["fair", *PREFIXES]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_single_missing_key_is_noticed(tmp_path, state, layout):
    full = layout_state(state, layout)
    for key in full:
        if ".0." in key:
            continue  # block 1 has the same kinds of keys; this keeps the test quick
        changed = {k: v for k, v in full.items() if k != key}
        with pytest.raises(WeightsError):
            load_backbone(write_layout(tmp_path, changed, layout))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_extra_and_mutated_keys_are_named(tmp_path, state, layout):
    full = layout_state(state, layout)
    refused(write_layout(tmp_path, full | {"surprise.weight": torch.ones(1)}, layout), "surprise.weight")
    key = next(k for k in full if "norm" in k and "0" in k)
    changed = {k: v for k, v in full.items() if k != key} | {f"{key}x": full[key]}
    refused(write_layout(tmp_path, changed, layout), f"{key}x")


def test_two_layouts_in_one_file_are_refused(tmp_path, state, config):
    both = hugging_face_state(state, "published") | hugging_face_state(state, "transformers5")
    both = {key: value.clone() for key, value in both.items()}
    refused(write_hugging_face(tmp_path / "hf", both, config), "twice")


def test_incomplete_query_key_value_is_refused(tmp_path, state, config):
    hf = hugging_face_state(state, "published")
    del hf["vit.encoder.layer.1.attention.attention.key.bias"]
    refused(write_hugging_face(tmp_path / "hf", hf, config), "query, key or value", "blocks.1.attn.k.bias")


@pytest.mark.parametrize(
    ("key", "value", "word"),
    [
        ("blocks.1.norm1.weight", torch.ones(7), "blocks.1.norm1.weight [7] instead of [128]"),
        ("decoder_pred.weight", torch.ones(100, 64), "decoder_pred.weight"),
        ("pos_embed", torch.ones(1, 16, 128), "no square grid"),
        ("patch_embed.proj.weight", torch.ones(128, 4, 16, 16), "3 channels"),
        ("norm.bias", torch.full((128,), float("nan")), "not finite"),
    ],
)
def test_wrong_shapes_and_values_are_refused(tmp_path, state, key, value, word):
    refused(write_fair(tmp_path / "wrong.pth", state | {key: value}), word)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"hidden_size": 192}, "encoder_dim is 128, stated 192"),
        ({"image_size": 32}, "image_size is 64, stated 32"),
        ({"decoder_num_hidden_layers": 3}, "decoder_depth is 2, stated 3"),
        ({"model_type": "vit"}, "model_type 'vit'"),
        ({"hidden_act": "relu"}, "hidden_act 'relu'"),
        ({"num_attention_heads": 5}, "multiple of its number of heads"),
        ({"layer_norm_eps": "small"}, "small"),
    ],
)
def test_a_configuration_that_does_not_belong_is_refused(tmp_path, state, change, word):
    config = hugging_face_config(TINY, **change)
    refused(write_hugging_face(tmp_path / "hf", hugging_face_state(state, "published"), config), word)


def test_own_configuration_that_contradicts_the_tensors_is_refused(tmp_path, tiny_config, state):
    metadata = {"cinemae.backbone": tiny_config.model_dump_json()}
    save_file(state, tmp_path / "backbone.safetensors", metadata=metadata)
    refused(tmp_path / "backbone.safetensors", "contradict")


def test_unstated_heads_are_logged_or_refused(tmp_path, state, caplog):
    load_backbone(write_fair(tmp_path / "a.pth", state))
    assert "number of encoder heads is not stated; taking 2" in caplog.text
    odd = fair_state(fair_shapes(**(TINY | {"dim": 96})))
    refused(write_fair(tmp_path / "b.pth", odd), "number of encoder heads", "config.json")


# damaged and hostile files ------------------------------------------------------------------------------------------


class Code:
    """What a hostile pickle does when it is loaded."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (os.mkdir, (str(self.path),))


@pytest.mark.parametrize("kind", ["zip", "legacy", "plain"])
def test_a_pickle_with_code_is_refused_and_not_run(tmp_path, state, kind):
    proof, path = tmp_path / "executed", tmp_path / "weights.pth"
    content = {"model": state, "payload": Code(proof)}
    if kind == "plain":
        path.write_bytes(pickle.dumps({"payload": Code(proof)}, protocol=2))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=kind == "zip")
    refused(path, "could run code", "mkdir")
    assert not proof.exists()


@pytest.mark.parametrize("fraction", [0.0, 0.01, 0.5, 0.999])
@pytest.mark.parametrize("kind", ["zip", "legacy", "safetensors"])
def test_truncated_files_are_refused(tmp_path, state, kind, fraction):
    path = tmp_path / "weights.bin"
    if kind == "safetensors":
        save_file(state, path)
    else:
        torch.save({"model": state}, path, _use_new_zipfile_serialization=kind == "zip")
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * fraction)])
    refused(path, "truncated")


@pytest.mark.parametrize(
    ("content", "word"),
    [(b"<!DOCTYPE html><html>", "neither"), (b"PK\x03\x04 but no archive", "damaged"), (b"\x80\x02garbage", "damaged")],
)
def test_other_files_are_refused(tmp_path, content, word):
    (tmp_path / "weights.pth").write_bytes(content)
    refused(tmp_path / "weights.pth", word)


@pytest.mark.parametrize("content", [[1, 2], {"model": {"a": 3}}, {"model": {}}, {}])
def test_torch_files_without_tensors_are_refused(tmp_path, content):
    torch.save(content, tmp_path / "weights.pth")
    refused(tmp_path / "weights.pth")


def test_absent_paths_and_broken_folders_are_refused(tmp_path, state, config):
    refused(tmp_path / "nothing.pth", "no such file")
    refused("no/such.pth", "no such file")
    (tmp_path / "empty").mkdir()
    refused(tmp_path / "empty", "holds none of")
    folder = write_shards(tmp_path / "hf", hugging_face_state(state, "published"), config)
    index = folder / "model.safetensors.index.json"
    (folder / "model-00002-of-00002.safetensors").unlink()
    refused(index, "model-00002-of-00002.safetensors")
    index.write_text('{"weight_map": {"a": "../outside.safetensors"}}')
    refused(index, "outside its own folder")
    for text in ("{", "[]", "{}", '{"weight_map": {"a": 1}}'):
        index.write_text(text)
        refused(index)


# the hub, and licences ----------------------------------------------------------------------------------------------


def fake_hub(monkeypatch, folder, asked):
    def download(repository, name):
        asked.append((repository, name))
        if folder is None:
            raise LocalEntryNotFoundError("offline")
        if not (folder / name).is_file():
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


def test_hub_problems_are_explained(tmp_path, monkeypatch, config):
    fake_hub(monkeypatch, None, [])
    refused("facebook/vit-mae-large", "cannot be reached", "hf download facebook/vit-mae-large --local-dir")
    (tmp_path / "config.json").write_text("{}")
    fake_hub(monkeypatch, tmp_path, [])
    refused("someone/model", "no weights could be fetched")

    def fails(repository, name):
        raise OSError("connection reset")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", fails)
    refused("someone/model", "connection reset")
    assert issubclass(RemoteEntryNotFoundError, huggingface_hub.errors.EntryNotFoundError)


@pytest.mark.parametrize(
    ("name", "licence"),
    [
        ("mae_visualize_vit_large.pth", "CC-BY-NC-4.0"),
        ("mae_visualize_vit_large_ganloss.pth", "CC-BY-NC-4.0"),
        ("mae_visualize_vit_tiny.pth", "unknown"),
        ("mine.pth", "unknown"),
    ],
)
def test_licence_of_fair_files(tmp_path, state, name, licence):
    assert load_backbone(write_fair(tmp_path / name, state)).info.licence == licence


def test_licence_of_a_downloaded_folder_and_of_a_stated_one(tmp_path, state):
    hf = hugging_face_state(state, "published")
    copy = write_hugging_face(tmp_path / "vit-mae-huge", hf, hugging_face_config(TINY))
    assert load_backbone(copy).info.licence == "CC-BY-NC-4.0"
    stated = write_hugging_face(tmp_path / "hf", hf, hugging_face_config(TINY, license="cc-by-nc-4.0"))
    assert load_backbone(stated).info.licence == "CC-BY-NC-4.0"
