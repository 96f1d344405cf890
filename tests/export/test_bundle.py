"""The demonstration engine of the wheel, made from a checkpoint; its compact weights change no output."""

import copy

import numpy as np
import onnx
import pytest
import torch
from cinemae.export import bundle as bundling
from cinemae.export.bundle import bundle, compact, exact_in_half
from cinemae.export.fused import fused_graph
from cinemae.runtime.core.errors import UsageError
from cinemae.runtime.engines.file.header import read_manifest
from cinemae.runtime.engines.onnx.library import import_onnxruntime
from cinemae.train.fitting.checkpoint_folder import update_checkpoint


@pytest.fixture
def checkpoint(checkpoint, tiny_manifest):
    backbone = tiny_manifest.backbone.model_copy(update={"licence": "for research"})
    update_checkpoint(checkpoint, tiny_manifest.model_copy(update={"backbone": backbone, "licence": "Apache-2.0"}), {})
    return checkpoint


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "models").mkdir()
    return tmp_path / "models"


def test_a_bundle_is_a_demonstration_under_the_terms_of_its_weights(checkpoint, folder):
    table = bundle(checkpoint, folder / "demo.onnx")
    assert "bundled" in table
    manifest = read_manifest(folder / "demo.onnx")
    assert (manifest.name, manifest.demonstration, manifest.kind) == ("cinemae-demo", True, "fused")
    assert manifest.licence == "for research"
    assert [path.name for path in folder.iterdir()] == ["demo.onnx"]


def test_a_bundle_that_is_too_large_leaves_nothing(checkpoint, folder, monkeypatch):
    monkeypatch.setattr(bundling, "LARGEST", 1000)
    with pytest.raises(UsageError, match="may hold 1,000"):
        bundle(checkpoint, folder / "demo.onnx")
    assert list(folder.iterdir()) == []


def test_compact_weights_give_the_same_bits(tiny_detector, random_images):
    rounded = copy.deepcopy(tiny_detector)
    with torch.no_grad():
        for parameter in rounded.mae.parameters():
            parameter.copy_(parameter.half().float())
    model, session = fused_graph(rounded), import_onnxruntime().InferenceSession
    before = model.SerializeToString()
    assert compact(model) > 0.25 * len(before)
    onnx.checker.check_model(model)
    graphs = (before, model.SerializeToString())
    expected, found = (session(graph).run(None, {"images": random_images}) for graph in graphs)
    for a, b in zip(expected, found, strict=True):
        np.testing.assert_array_equal(a, b)


def test_values_that_would_change_are_left_alone(tiny_detector):
    assert [exact_in_half(np.float32(values)) for values in ([0.5, -2.0, 1024.0], [0.1], [1e9])] == [True, False, False]
    model = fused_graph(tiny_detector)
    before = model.SerializeToString()
    assert compact(model) == 0
    assert model.SerializeToString() == before
