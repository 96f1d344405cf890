"""A checkpoint of the tiny detector, and the command that exports it."""

import shutil

import pytest
from cinemae.export import cli
from cinemae.train.fitting.checkpoint import save_checkpoint
from commands import outcome


@pytest.fixture(scope="session")
def tiny_checkpoint(made_once, tiny_detector, tiny_manifest):
    """A folder as `cinemae-train fit --embed-backbone` writes it. Do not modify."""
    masks = tiny_detector.visible.numpy()[None]
    return made_once("checkpoint", lambda folder: save_checkpoint(
        folder, tiny_detector.head, masks, tiny_manifest, embed=tiny_detector.mae))


@pytest.fixture
def checkpoint(tiny_checkpoint, tmp_path):
    """A copy that may be changed."""
    return shutil.copytree(tiny_checkpoint, tmp_path / "checkpoint")


@pytest.fixture(scope="session")
def rtx():
    """TensorRT-RTX, whose parser and builder need no GPU."""
    from tensorrt_fakes import real_rtx

    found = real_rtx()
    if found is None:
        pytest.skip("needs tensorrt-rtx-cu13-bindings and onnxruntime-ep-nv-tensorrt-rtx-cu13")
    return found


@pytest.fixture
def command(capsys):
    """Run cinemae-export in this process (torch is slow to import)."""
    return lambda *arguments: outcome(capsys, cli.app, *arguments)
