"""The demonstration engine of the wheel, made from a checkpoint."""

import pytest
from cinemae.export import bundle as bundling
from cinemae.export.bundle import bundle
from cinemae.runtime.core.errors import UsageError
from cinemae.runtime.engines.file.header import read_manifest
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
