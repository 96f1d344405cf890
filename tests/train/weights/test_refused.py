"""Backbone weights that are refused: normalised targets, keys, shapes, configurations, damaged and hostile files."""

import argparse
import os
import pickle

import pytest
import torch
from cinemae.runtime.core.errors import WeightsError
from cinemae.train.weights.load import load_backbone
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
from weights_checks import assert_same, refused


def with_arguments(path, state, norm_pix_loss):
    torch.save({"model": state, "epoch": 799, "args": argparse.Namespace(norm_pix_loss=norm_pix_loss)}, path)
    return path


def test_normalised_targets_are_refused_unless_allowed(tmp_path, state):
    """By the name of FAIR's file, by the training arguments in it, or by Hugging Face's configuration."""
    config = hugging_face_config(TINY, norm_pix_loss=True)
    for source in (
        write_fair(tmp_path / "mae_pretrain_vit_large_full.pth", state),
        with_arguments(tmp_path / "a.pth", state, True),
        write_hugging_face(tmp_path / "hf", hugging_face_state(state, "published"), config),
    ):
        refused(source, "normalised patch by patch", "mae_visualize_vit", "allow_normalised_target=True")
        assert_same(load_backbone(source, allow_normalised_target=True).mae, state)
    assert_same(load_backbone(with_arguments(tmp_path / "b.pth", state, False)).mae, state)


def layout_state(state, layout):
    return dict(state) if layout == "fair" else hugging_face_state(state, layout)


def write_layout(tmp_path, changed, layout):
    if layout == "fair":
        return write_fair(tmp_path / "weights.pth", changed)
    return write_hugging_face(tmp_path / "hf", changed, hugging_face_config(TINY))


LAYOUTS = ["fair", *PREFIXES]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_single_missing_key_is_noticed_and_extra_and_mutated_keys_are_named(tmp_path, state, layout):
    full = layout_state(state, layout)
    for key in full:
        if ".0." not in key:  # block 1 has the same kinds of keys; this keeps the test quick
            with pytest.raises(WeightsError):
                load_backbone(write_layout(tmp_path, {k: v for k, v in full.items() if k != key}, layout))
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


class Code:
    """What a hostile pickle does when it is loaded."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (os.mkdir, (str(self.path),))


@pytest.mark.parametrize("kind", ["zip", "legacy", "plain"])
def test_a_pickle_with_code_is_refused_and_not_run(tmp_path, state, kind):
    proof, path = tmp_path / "executed", tmp_path / "weights.pth"
    if kind == "plain":
        path.write_bytes(pickle.dumps({"payload": Code(proof)}, protocol=2))
    else:
        torch.save({"model": state, "payload": Code(proof)}, path, _use_new_zipfile_serialization=kind == "zip")
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


@pytest.mark.parametrize("content", [[1, 2], {"model": {"a": 3}}, {"model": {}}, {}], ids=str)
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
