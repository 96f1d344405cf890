"""With a GPU and TensorRT: a plan is built, loaded and agrees with float32."""

import numpy as np
import pytest
from cinemae.export.fused import export_fused
from cinemae.export.parity import eager_output, parity_images
from cinemae.export.request import BuildOptions
from cinemae.export.tensorrt import build_plan
from cinemae.runtime.engines.cuda import Cuda
from cinemae.runtime.engines.load import load_engine
from cinemae.runtime.engines.tensorrt import import_tensorrt
from cinemae.runtime.errors import CinemaeError

FP16_LOGIT = 0.02
"""Eleven bits of mantissa through a few layers."""


def tensorrt_is_there():
    try:
        import_tensorrt()
        Cuda.load().device()
    except (CinemaeError, RuntimeError):
        return False
    return True


@pytest.mark.gpu
@pytest.mark.skipif(not tensorrt_is_there(), reason="needs TensorRT, cuda-python and an NVIDIA GPU")
def test_plan_runs_and_agrees_with_eager(tiny_detector, tiny_manifest, tmp_path):
    export_fused(tiny_detector, tiny_manifest, tmp_path / "tiny.onnx", "fp16")
    build_plan(tmp_path / "tiny.onnx", tmp_path / "tiny.plan", BuildOptions(batch=(1, 4, 8)))
    images = parity_images(11, 64)
    engine = load_engine(tmp_path / "tiny.plan", device="tensorrt")
    found = engine.infer(images)
    singles = np.concatenate([engine.infer(images[i : i + 1]).logit for i in range(len(images))])
    engine.close()
    np.testing.assert_allclose(found.logit, eager_output(tiny_detector, images).logit, atol=FP16_LOGIT)
    np.testing.assert_allclose(found.logit, singles, atol=FP16_LOGIT)
