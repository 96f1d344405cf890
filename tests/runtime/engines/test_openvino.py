"""The OpenVINO backend: the same numbers as onnxruntime, batches and singles, refusals."""

import re
import shutil
import sys

import numpy as np
import pytest
from cinemae.runtime.core.environment import pip_install
from cinemae.runtime.core.errors import EngineError, MissingDependencyError, UsageError
from cinemae.runtime.engines.load import load_engine

AGREEMENT = 1e-3
"""The tolerance of the parity table: other kernels, the same float32."""


@pytest.fixture
def openvino():
    return pytest.importorskip("openvino", reason="needs the extra openvino")


def test_agrees_with_onnxruntime_and_batches_with_singles(openvino, tiny_engine, random_images):
    expected = load_engine(tiny_engine, "cpu").infer(random_images)
    engine = load_engine(tiny_engine, "openvino", threads=1)
    assert engine.provider == "OpenVINO"
    found = engine.infer(random_images)
    np.testing.assert_allclose(found.logit, expected.logit, atol=AGREEMENT)
    np.testing.assert_allclose(found.lcas, expected.lcas, rtol=AGREEMENT, atol=AGREEMENT)
    singles = np.concatenate([engine.infer(random_images[i : i + 1]).logit for i in range(7)])
    np.testing.assert_allclose(found.logit, singles, atol=AGREEMENT)
    engine.close()
    engine.close()
    with pytest.raises(EngineError, match="closed"):
        engine.infer(random_images)


def test_damaged_engine_is_refused_before_openvino_sees_it(tiny_engine, tmp_path):
    path = shutil.copy(tiny_engine, tmp_path / "copy.onnx")
    with open(path, "r+b") as file:
        file.seek(-5, 2)
        file.write(b"\xff")
    with pytest.raises(EngineError):
        load_engine(path, "openvino")


def test_without_openvino_the_pip_line_is_said(tiny_engine, monkeypatch):
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(MissingDependencyError, match=re.escape(pip_install("openvino"))):
        load_engine(tiny_engine, "openvino")


def test_parts_are_for_onnxruntime(tiny_parts):
    with pytest.raises(UsageError, match="fused"):
        load_engine(tiny_parts, "openvino")
