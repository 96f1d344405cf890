"""Shared fixtures: the development data, a tiny seeded model in which every parameter is random, small images.

Workers of pytest-xdist share what is expensive: see `made_once`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import hypothesis
import numpy as np
import pytest
from filelock import FileLock
from random_parameters import randomise

DATA_VARIABLE = "CINEMAE_DATA"
ENGINE_VARIABLE = "CINEMAE_TINY_ENGINE"
"""Where `tiny_engine` lies: made there once, tests of the runtime find it without torch (`.ci/lower-bounds`)."""
MAY_SKIP_VARIABLE = "CINEMAE_MAY_SKIP"
"""Markers, separated by commas, of the tests that may skip; every other skip is then an error (`.ci/run`)."""

# The OpenMP library reads these when torch is first imported, here and in the processes the tests start. Threads that
# wait for each other by spinning slow tiny models down a hundredfold where another program wants the cores.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
if "PYTEST_XDIST_WORKER" in os.environ:  # a core each
    os.environ.setdefault("OMP_NUM_THREADS", "1")
# Whatever imports onnxruntime in a test or a process that it starts: nothing is sent to its maker.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

SHARED_FIXTURES = [hypothesis.HealthCheck.function_scoped_fixture]
for name, count in {"quick": 25, "thorough": 300}.items():
    hypothesis.settings.register_profile(name, max_examples=count, deadline=None, suppress_health_check=SHARED_FIXTURES)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))

TRAINING_SIDE = re.compile(
    r"^(?:import|from) (?:torch|onnx|cinemae\.train|cinemae\.export|published_layouts|tensorrt_fakes)\b", re.MULTILINE
)
"""Imports of a test file that need torch or come with it."""


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """Leave out what an install without the training side cannot import."""
    if find_spec("torch") is not None:
        return None
    needs_torch = collection_path.name in ("export", "train")
    if collection_path.suffix == ".py":
        needs_torch = TRAINING_SIDE.search(collection_path.read_text("utf-8")) is not None
    return needs_torch or None


def pytest_report_header() -> str | None:
    """Say what an install without the training side leaves out."""
    return None if find_spec("torch") else "torch is not installed: tests of training and export are left out"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that read the development data."""
    for item in items:
        if "data_root" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.data)


def forbid_skip(report: pytest.TestReport | pytest.CollectReport, node: pytest.Item | pytest.Collector) -> None:
    """Turn a skip into a failure where `MAY_SKIP_VARIABLE` is set and does not name a marker of the test."""
    allowed = os.environ.get(MAY_SKIP_VARIABLE)
    if allowed is None or not report.skipped or any(node.get_closest_marker(name) for name in allowed.split(",")):
        return
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
    report.outcome, report.longrepr = "failed", f"{node.nodeid}: {reason} ({MAY_SKIP_VARIABLE}={allowed} forbids it)"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item):
    report = yield
    forbid_skip(report, item)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector: pytest.Collector):
    report = yield
    forbid_skip(report, collector)
    return report


@pytest.fixture(scope="session")
def made_once(tmp_path_factory) -> Callable[[str, Callable[[Path], object]], Path]:
    """`made_once(name, make)`: a path that `make(path)` wrote in the first worker that asked for it; others wait."""
    own = tmp_path_factory.getbasetemp()
    folder = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "shared"
    folder.mkdir(exist_ok=True)

    def once(name: str, make: Callable[[Path], object]) -> Path:
        with FileLock(folder / f"{name}.lock"):
            if not (done := folder / f"{name}.done").exists():
                make(folder / name)
                done.touch()
        return folder / name

    return once


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
def tiny_engine(made_once, tiny_manifest, request) -> Path:
    """The fused `.onnx` engine of `tiny_detector`, made by the real export. Do not modify; copy it first."""

    def export(path: Path) -> None:
        from cinemae.export.fused import export_fused

        export_fused(request.getfixturevalue("tiny_detector"), tiny_manifest, path)

    if not (given := os.environ.get(ENGINE_VARIABLE)):
        return made_once("tiny.onnx", export)
    if not os.path.isfile(given):
        export(Path(given))
    return Path(given)


@pytest.fixture(scope="session")
def tiny_fp16_engine(made_once, tiny_detector, tiny_manifest) -> Path:
    """`tiny_engine` in half precision. Do not modify; copy it first."""
    from cinemae.export.fused import export_fused

    return made_once("tiny-fp16.onnx", lambda path: export_fused(tiny_detector, tiny_manifest, path, "fp16"))


@pytest.fixture(scope="session")
def tiny_parts(made_once, tiny_detector, tiny_manifest) -> Path:
    """The same detector as a folder of parts."""
    from cinemae.export.parts import export_parts

    return made_once("parts", lambda folder: export_parts(tiny_detector, tiny_manifest, folder))


@pytest.fixture
def random_images():
    """uint8 [7, 64, 64, 3]."""
    return np.random.default_rng(0).integers(0, 256, (7, 64, 64, 3), dtype=np.uint8)


@pytest.fixture(scope="session")
def tiny_weights(made_once, tiny_detector) -> Path:
    """The backbone of `tiny_detector` as our own weights file."""
    from cinemae.train.weights.save import save_backbone

    return made_once("backbone.safetensors", lambda path: save_backbone(tiny_detector.mae, path))


@pytest.fixture(scope="session")
def image_tree(made_once) -> Path:
    """A rendered GenImage tree: gen_a with train (24 + 24) and val (8 + 8), gen_b with val. Do not modify."""
    from training_tree import make_tree

    return made_once("tree", make_tree)


@pytest.fixture(scope="session")
def fitted(made_once, image_tree, tiny_weights) -> Path:
    """A folder in which `cinemae-train` extract and fit ran on `image_tree`. Do not modify; copy it first."""
    from cinemae.train.cli.train import main

    def train(folder: Path) -> None:
        folder.mkdir()
        commands = (
            f"extract {image_tree} --backbone {tiny_weights} -q --split train",
            "fit -q --epochs 20 --lr 2e-2 --held-out 0.3 --embed-backbone",
        )
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(folder)
            for command in commands:
                with pytest.raises(SystemExit) as stop:
                    main(command.split())
                assert stop.value.code in (0, None), command

    return made_once("chain", train)
