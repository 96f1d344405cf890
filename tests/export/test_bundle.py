"""The demonstration engine of the wheel, made from a checkpoint."""

import pytest
from cinemae.export import bundle as bundling
from cinemae.export.bundle import bundle
from cinemae.runtime.core.errors import UsageError
from cinemae.runtime.engines.file.header import read_manifest
from cinemae.train.fitting.checkpoint import save_checkpoint


@pytest.fixture
def checkpoint(tmp_path_factory, tiny_detector, tiny_manifest):
    backbone = tiny_manifest.backbone.model_copy(update={"licence": "for research"})
    manifest = tiny_manifest.model_copy(update={"backbone": backbone, "licence": "Apache-2.0"})
    folder = tmp_path_factory.mktemp("bundle") / "checkpoint"
    masks = tiny_detector.visible.numpy()[None]
    return save_checkpoint(folder, tiny_detector.head, masks, manifest, embed=tiny_detector.mae)


def test_a_bundle_is_a_demonstration_under_the_terms_of_its_weights(checkpoint, tmp_path):
    table = bundle(checkpoint, tmp_path / "demo.onnx")
    assert "bundled" in table
    manifest = read_manifest(tmp_path / "demo.onnx")
    assert (manifest.name, manifest.demonstration, manifest.kind) == ("cinemae-demo", True, "fused")
    assert manifest.licence == "for research"
    assert [path.name for path in tmp_path.iterdir()] == ["demo.onnx"]


def test_a_bundle_that_is_too_large_leaves_nothing(checkpoint, tmp_path, monkeypatch):
    monkeypatch.setattr(bundling, "LARGEST", 1000)
    with pytest.raises(UsageError, match="may hold 1,000"):
        bundle(checkpoint, tmp_path / "demo.onnx")
    assert list(tmp_path.iterdir()) == []
