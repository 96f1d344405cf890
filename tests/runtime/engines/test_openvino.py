"""The OpenVINO backend: the same numbers as onnxruntime, batches and singles, refusals."""

import re
import shutil
import sys

import numpy as np
import pytest
from cinemae.runtime.core import environment
from cinemae.runtime.core.environment import pip_install
from cinemae.runtime.core.errors import EngineError, MissingDependencyError, UsageError
from cinemae.runtime.engines.load import load_engine
from emulator import emulated, needs_emulator

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


@pytest.mark.parametrize("features", [["avx2"], ["avx2", "avx512f", "avx512_vnni"]])
def test_bf16_is_refused_where_the_cpu_lists_no_instructions_for_it(openvino, tiny_engine, monkeypatch, features):
    """OpenVINO itself lists BF16 on a Cascade Lake, the second: AVX-512 suffices."""
    monkeypatch.setattr(environment, "cpu_features", lambda: features)
    assert load_engine(tiny_engine, "openvino").manifest.precision == "fp32"
    with pytest.raises(UsageError, match="this CPU has no bfloat16 instructions: use float32"):
        load_engine(tiny_engine, "auto", None, "bf16")


@pytest.mark.slow
@needs_emulator
def test_bf16_is_refused_on_an_emulated_cpu_for_which_openvino_does_not_list_it(openvino, tiny_engine):
    code = f"from cinemae.runtime.engines.load import load_engine; load_engine({str(tiny_engine)!r}, precision='bf16')"
    said = emulated(code).stderr
    assert "this CPU has no bfloat16 instructions: use float32" in said, said[-2000:]


def test_parts_are_for_onnxruntime(tiny_parts):
    with pytest.raises(UsageError, match="fused"):
        load_engine(tiny_parts, "openvino")
