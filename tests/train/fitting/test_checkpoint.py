"""Checkpoints: what is saved comes back, the backbone is verified, damage and mix-ups are refused."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch
from cinemae.runtime.core.errors import EngineError, ManifestError, UsageError, WeightsError
from cinemae.runtime.core.manifest import MethodConfig
from cinemae.train.features.cache_spec import draw_mask_sets
from cinemae.train.features.sample_list import SAMPLES_FILE
from cinemae.train.fitting.checkpoint import load_checkpoint, load_head, save_checkpoint
from cinemae.train.fitting.checkpoint_folder import (
    HEAD_FILE,
    LAST_FILE,
    MANIFEST_FILE,
    METRICS_FILE,
    last_checkpoint,
    read_metrics,
    remember_checkpoint,
    update_checkpoint,
)
from cinemae.train.weights.load import load_backbone
from cinemae.train.weights.save import WEIGHTS_FILE
from safetensors.torch import load_file


@pytest.fixture
def mask_sets(tiny_config, tiny_manifest):
    sets = draw_mask_sets(tiny_config.n_patches, MethodConfig(mask_sets=3))
    assert np.array_equal(sets[0], tiny_manifest.masks.array())
    return sets


@pytest.fixture
def manifest(tiny_manifest, tiny_weights):
    return tiny_manifest.model_copy(update={"backbone": load_backbone(tiny_weights).info})


@pytest.fixture
def save(tmp_path, tiny_detector, mask_sets, manifest):
    def save(name="one", **options):
        return save_checkpoint(tmp_path / name, tiny_detector.head, mask_sets, manifest, **options)

    return save


def test_a_checkpoint_gives_the_detector_back(save, tiny_detector, mask_sets, manifest, random_images):
    images = torch.from_numpy(random_images)
    loaded = load_checkpoint(save())
    assert not loaded.detector.training
    assert loaded.manifest == manifest
    assert np.array_equal(loaded.mask_sets, mask_sets)
    assert loaded.mask_sets.dtype == np.int64
    with torch.inference_mode():
        for found, expected in zip(loaded.detector(images), tiny_detector(images), strict=True):
            assert torch.equal(found, expected)


def test_the_last_epoch_is_kept_beside_the_best(save, tiny_detector):
    state = {name: torch.zeros_like(value) for name, value in tiny_detector.head.state_dict().items()}
    folder = save(last=state)
    assert load_head(folder).head.norm_global.weight.abs().sum() > 0
    assert load_file(folder / LAST_FILE)["head.norm_global.weight"].abs().sum() == 0


def renamed(folder, source):
    """The checkpoint, as if its backbone had been at `source`."""
    manifest = load_head(folder).manifest
    backbone = manifest.backbone.model_copy(update={"source": source})
    update_checkpoint(folder, manifest.model_copy(update={"backbone": backbone}), {})
    return folder


def flip_last_bit(source, target):
    target.write_bytes(source.read_bytes()[:-1] + bytes([source.read_bytes()[-1] ^ 1]))
    return target


def test_an_embedded_backbone_needs_no_other_file(save, tiny_detector, tmp_path, random_images):
    moved = renamed(save(embed=tiny_detector.mae), "/nowhere").rename(tmp_path / "moved")
    with torch.inference_mode():
        found = load_checkpoint(moved).detector(torch.from_numpy(random_images)).logit
        assert torch.equal(found, tiny_detector(torch.from_numpy(random_images)).logit)
    flip_last_bit(moved / WEIGHTS_FILE, moved / WEIGHTS_FILE)
    with pytest.raises(WeightsError, match="embedded backbone"):
        load_checkpoint(moved)


def test_the_backbone_is_known_by_its_hash_and_missing_it_says_which_option_helps(save, tiny_weights, tmp_path):
    folder = save()
    with pytest.raises(WeightsError, match="SHA-256"):
        load_checkpoint(folder, backbone=flip_last_bit(tiny_weights, tmp_path / "other.safetensors"))
    copied = shutil.copy(tiny_weights, tmp_path / "copy.safetensors")
    assert load_checkpoint(folder, backbone=copied).folder == folder, "the same bytes elsewhere are the same backbone"
    with pytest.raises(WeightsError, match="--backbone"):
        load_checkpoint(renamed(folder, "gone.pth"))


def test_saving_again_keeps_the_older_folder_under_a_number(save, tiny_detector):
    folder = save(last=tiny_detector.head.state_dict(), metrics={"fit": 1})
    (folder / "eval").mkdir()
    (folder / "eval" / "eval.json").write_text("{}")
    save(metrics={"fit": 2})
    save(metrics={"fit": 3})
    assert not (folder / LAST_FILE).exists()
    assert read_metrics(folder) == {"fit": 3}
    older = [folder.with_name(f"{folder.name}-{number}") for number in (1, 2)]
    assert [read_metrics(path)["fit"] for path in older] == [1, 2]
    assert (older[0] / LAST_FILE).exists()
    assert (older[0] / "eval" / "eval.json").exists()
    assert set(folder.parent.iterdir()) == {folder, *older}, "no temporary folder is left"


def test_a_failed_save_leaves_the_old_checkpoint(save, monkeypatch):
    folder = save(metrics={"fit": 1})

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr("cinemae.train.fitting.checkpoint.write_text", fail)
    with pytest.raises(OSError, match="disk full"):
        save(metrics={"fit": 2})
    assert read_metrics(folder) == {"fit": 1}
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


def test_a_foreign_folder_is_never_replaced(save, tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.jpg").write_bytes(b"precious")
    with pytest.raises(UsageError, match="no checkpoint"):
        save("photos")
    assert (tmp_path / "photos" / "a.jpg").read_bytes() == b"precious"


def test_update_merges_metrics(save):
    folder = save(metrics={"fit": 1})
    update_checkpoint(folder, load_head(folder).manifest.model_copy(update={"name": "renamed"}), {"eval": 2})
    assert read_metrics(folder) == {"fit": 1, "eval": 2}
    assert load_head(folder).manifest.name == "renamed"


def test_damage_is_one_clear_error(save, mask_sets):
    for number, damage in enumerate(("truncated head", "missing head", "other head", "other masks", "broken manifest")):
        folder = save(f"checkpoint-{number}")
        head, manifest = folder / HEAD_FILE, folder / MANIFEST_FILE
        record = json.loads(manifest.read_text())
        if damage == "truncated head":
            head.write_bytes(head.read_bytes()[:100])
        elif damage == "missing head":
            head.unlink()
        elif damage == "other head":
            record["head"]["cls_hidden"] += 1
        elif damage == "other masks":
            record["masks"]["visible"] = mask_sets[1].tolist()
        manifest.write_text("{" if damage == "broken manifest" else json.dumps(record))
        with pytest.raises(ManifestError if damage == "broken manifest" else EngineError, match=folder.name):
            load_head(folder)


def test_what_is_no_checkpoint_or_does_not_belong_together_is_refused(tiny_detector, mask_sets, manifest, tmp_path):
    with pytest.raises(UsageError):
        save_checkpoint(tmp_path / "x", tiny_detector.head, mask_sets[1:], manifest)
    with pytest.raises(UsageError):
        load_head(tmp_path)


def test_the_last_checkpoint_is_remembered(save, tmp_path, monkeypatch):
    folder = save()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match="none was fitted here"):
        last_checkpoint()
    remember_checkpoint(folder)
    assert last_checkpoint() == folder
    shutil.rmtree(folder)
    with pytest.raises(UsageError, match="gone"):
        last_checkpoint()


def test_nothing_in_a_checkpoint_is_a_pickle(save, tiny_detector):
    folder = save(embed=tiny_detector.mae)
    assert {p.name for p in folder.iterdir()} == {HEAD_FILE, MANIFEST_FILE, METRICS_FILE, SAMPLES_FILE, WEIGHTS_FILE}
