"""With a GPU: a plan is built, loaded and agrees with float32, in any order of batches; so does onnxruntime on CUDA."""

import numpy as np
import pytest
from cinemae.export.parity import eager_output, parity_images
from cinemae.export.tensorrt import build_plan
from cinemae.runtime.core.errors import CinemaeError
from cinemae.runtime.diagnose.probe import probe
from cinemae.runtime.engines.cuda.driver import Cuda
from cinemae.runtime.engines.load import load_engine
from cinemae.runtime.engines.tensorrt.library import import_tensorrt
from cinemae.runtime.scoring.detector import Detector
from tensorrt_fakes import batches

FP16_LOGIT = 0.02
"""Eleven bits of mantissa through a few layers."""
FP32_LOGIT = 1e-3
"""Sums in another order."""


def tensorrt_is_there():
    try:
        import_tensorrt()
        Cuda.load().device()
    except (CinemaeError, RuntimeError):
        return False
    return True


needs_tensorrt = pytest.mark.skipif(
    not tensorrt_is_there(), reason="needs TensorRT, cuda-python and an NVIDIA GPU"
)


@pytest.mark.gpu
@needs_tensorrt
@pytest.mark.parametrize("smallest", [1, 2])
def test_batches_in_flight_and_sizes_in_any_order_agree_with_eager(tiny_detector, tiny_fp16_engine, tmp_path, smallest):
    build_plan(tiny_fp16_engine, tmp_path / "tiny.plan", batches(smallest, 4, 8))
    images = parity_images(11, 64)
    expected = eager_output(tiny_detector, images).logit
    engine = load_engine(tmp_path / "tiny.plan", device="tensorrt")
    for count in (8, 1, 3, 8, 2, 11, 3):
        np.testing.assert_allclose(engine.infer(images[:count]).logit, expected[:count], atol=FP16_LOGIT)
    order = [i % 11 for i in range(200)]
    with Detector(engine, engine.manifest) as detector:
        alone = [detector.detect(image).logit for image in images]
        found = [record.logit for record in detector.detect_many((images[i] for i in order), batch_size=4)]
    np.testing.assert_allclose(found, np.array(alone)[order], atol=FP16_LOGIT)


@pytest.mark.gpu
def test_onnxruntime_on_cuda_agrees_with_the_cpu(tiny_engine):
    if trouble := probe("CUDAExecutionProvider"):
        pytest.skip(f"needs onnxruntime-gpu and an NVIDIA GPU: {trouble}")
    images = parity_images(11, 64)
    gpu, cpu = load_engine(tiny_engine, "cuda"), load_engine(tiny_engine, "cpu")
    assert gpu.notes == ()
    for count in (8, 1, 3, 8, 8, 8, 2, 11, 3):
        found, expected = gpu.infer(images[:count]), cpu.infer(images[:count])
        np.testing.assert_allclose(found.logit, expected.logit, atol=FP32_LOGIT)
        np.testing.assert_allclose(found.lcas, expected.lcas, rtol=FP32_LOGIT)
    gpu.close()
    cpu.close()
