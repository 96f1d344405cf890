"""Shared fixtures: the development data, a tiny seeded model in which every parameter is random, small images."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from random_parameters import randomise

DATA_VARIABLE = "CINEMAE_DATA"
ENGINE_VARIABLE = "CINEMAE_TINY_ENGINE"
"""Where `tiny_engine` lies: made there once, tests of the runtime find it without torch (`.ci/lower-bounds`)."""

NEED_TORCH = [
    "export", "train", "test_examples.py", "runtime/test_lcas.py", "runtime/engines/test_crafted.py",
    "runtime/engines/test_tensorrt.py",
]
"""Tests of the training side, and those of the runtime that build what they test with it."""

collect_ignore = NEED_TORCH if find_spec("torch") is None else []


def pytest_report_header() -> str | None:
    """Say what an install without the training side leaves out."""
    return f"torch is not installed, so these are left out: {', '.join(NEED_TORCH)}" if collect_ignore else None


# Threads that wait for each other by spinning slow tiny models down a hundredfold where another program wants the
# cores. The OpenMP library reads this when torch is first imported, here and in the processes the tests start.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
# Whatever imports onnxruntime in a test or a process that it starts: nothing is sent to its maker.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"


@pytest.fixture(scope="session")
def data_root() -> Path:
    """The development data; tests that need it skip where it is absent."""
    root = os.environ.get(DATA_VARIABLE)
    if not root or not Path(root).is_dir():
        pytest.skip(f"needs the development data: set {DATA_VARIABLE} to its folder")
    return Path(root)


@pytest.fixture(scope="session")
def tiny_config():
    """A backbone of every kind of layer that runs in milliseconds: 64 px, 16 patches, 4 visible."""
    from cinemae.runtime.core.manifest import BackboneConfig

    return BackboneConfig(
        name="test_tiny", image_size=64, patch_size=16, encoder_dim=32, encoder_depth=3, encoder_heads=2,
        decoder_dim=16, decoder_depth=2, decoder_heads=2,
    )


@pytest.fixture(scope="session")
def tiny_detector(tiny_config):
    """A whole detector with random parameters everywhere and two balanced masks, in eval mode. Do not modify."""
    pytest.importorskip("torch")
    from cinemae.runtime.core.manifest import HeadConfig, MethodConfig
    from cinemae.runtime.core.masks import draw_visible
    from untrained import untrained_detector

    method = MethodConfig()
    visible = draw_visible(tiny_config.n_patches, method.k, method.mask_strategy, method.mask_seed)
    head = HeadConfig(agg_hidden=(8, 12), cls_hidden=10)
    detector = untrained_detector(tiny_config, method, visible, head)
    randomise(detector)
    return detector


@pytest.fixture(scope="session")
def tiny_manifest(tiny_config, request):
    """The manifest that belongs to `tiny_detector`."""
    from cinemae.runtime.core.manifest import Backbone, Manifest, Masks, Preprocess
    from cinemae.runtime.engines.file.header import read_manifest

    made = os.environ.get(ENGINE_VARIABLE, "")
    if os.path.isfile(made):
        return read_manifest(made)
    tiny_detector = request.getfixturevalue("tiny_detector")
    return Manifest(
        name="tiny-test", kind="checkpoint", method=tiny_detector.method, head=tiny_detector.head.config,
        preprocess=Preprocess(resize_short=72, crop=64),
        backbone=Backbone(config=tiny_config, source="seeded random values", sha256="0" * 64, licence="Apache-2.0"),
        masks=Masks(visible=tuple(tuple(int(i) for i in row) for row in tiny_detector.visible)),
    )


@pytest.fixture(scope="session")
def tiny_engine(tmp_path_factory, tiny_manifest, request) -> Path:
    """The fused `.onnx` engine of `tiny_detector`, made by the real export. Do not modify; copy it first."""
    path = Path(os.environ.get(ENGINE_VARIABLE) or tmp_path_factory.mktemp("engine") / "tiny.onnx")
    if not path.is_file():
        from cinemae.export.fused import export_fused

        export_fused(request.getfixturevalue("tiny_detector"), tiny_manifest, path)
    return path


@pytest.fixture(scope="session")
def tiny_parts(tmp_path_factory, tiny_detector, tiny_manifest) -> Path:
    """The same detector as a folder of parts."""
    from cinemae.export.parts import export_parts

    folder = tmp_path_factory.mktemp("parts")
    export_parts(tiny_detector, tiny_manifest, folder)
    return folder


@pytest.fixture
def random_images():
    """uint8 [7, 64, 64, 3]."""
    return np.random.default_rng(0).integers(0, 256, (7, 64, 64, 3), dtype=np.uint8)


@pytest.fixture(scope="session")
def tiny_weights(tiny_detector, tmp_path_factory):
    """The backbone of `tiny_detector` as our own weights file."""
    from cinemae.train.weights.save import save_backbone

    path = tmp_path_factory.mktemp("weights") / "backbone.safetensors"
    save_backbone(tiny_detector.mae, path)
    return path


@pytest.fixture(scope="session")
def image_tree(tmp_path_factory):
    """A rendered GenImage tree: gen_a with train (24 + 24) and val (8 + 8), gen_b with val. Do not modify."""
    from training_tree import make_tree

    return make_tree(tmp_path_factory.mktemp("tree"))
