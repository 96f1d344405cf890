"""GPU backends take images from where the decoders wrote them: which memory is copied, and that it is not reused early.

The fake GPU copies as late as CUDA allows, so a row that is used again too early gives other scores.
"""

import numpy as np
import pytest
from cinemae.export.fused import export_fused
from cinemae.export.request import BuildOptions
from cinemae.export.tensorrt import build_plan
from cinemae.runtime.core.rows import address
from cinemae.runtime.engines.cuda.driver import Cuda
from cinemae.runtime.engines.tensorrt.engine import open_engine
from cinemae.runtime.scoring.detector import Detector
from cuda_fakes import FakeCudaApi
from moving_pictures import animation, frames_of
from pictures import encoded, picture
from row_checks import freed, poisoned  # noqa: F401
from tensorrt_fakes import FakeTensorRt

CLOSE = 1e-3


@pytest.fixture(scope="module")
def plan(tmp_path_factory, tiny_detector, tiny_manifest):
    folder, trt = tmp_path_factory.mktemp("locked"), FakeTensorRt("10.3.0.26")
    export_fused(tiny_detector, tiny_manifest, folder / "tiny.onnx", "fp16")
    build_plan(folder / "tiny.onnx", folder / "tiny.plan", BuildOptions(batch=(1, 4, 4)), trt, Cuda(FakeCudaApi()))
    return folder / "tiny.plan", trt


@pytest.fixture
def api(plan):
    return FakeCudaApi()


@pytest.fixture
def load(plan, api):
    def load(**options):
        engine = open_engine(plan[0], "tensorrt", None, plan[1], Cuda(api))
        return Detector(engine, engine.manifest, **options)

    return load


def stills(count):
    return [encoded(picture(90, 80, seed), "PNG") for seed in range(count)]


def within(source, size, memory):
    return address(memory) <= source and source + size <= address(memory) + memory.nbytes


def test_what_is_copied_to_the_gpu_is_the_memory_that_decoders_wrote(load, api):
    detector = load()
    with detector:
        list(detector.detect_many(stills(30), 4, 2))
        memory = detector._rows.memory
        assert api.registered == {address(memory): memory.nbytes}
        assert all(within(source, size, memory) for source, size in api.to_device)
        sizes = [size // memory[0].nbytes for _, size in api.to_device]
        assert sizes == [4] * 7 + [2]  # one copy a batch
        assert [(source - address(memory)) // memory[0].nbytes for source, _ in api.to_device] == list(range(0, 30, 4))
    assert api.live == set()


@pytest.mark.usefixtures("poisoned")
@pytest.mark.parametrize("tiles", [False, True])
@pytest.mark.parametrize("workers", [1, 4])
def test_no_row_is_used_again_before_its_batch_is_done(load, api, tiles, workers):
    inputs = stills(61)
    inputs[5:5] = [b"no image", b"", animation("GIF", frames_of(7)), encoded(picture(300, 70, 99), "JPEG")]
    inputs[40:40] = [b"no image"]
    with load(tiles=tiles) as detector:
        found = list(detector.detect_many(inputs, 4, workers))
        expected = [detector.detect(source) for source in inputs]
    assert [record.status for record in found] == [record.status for record in expected]
    assert [record.status for record in found].count("error") == 3
    logits = [(a.logit, b.logit) for a, b in zip(found, expected, strict=True) if a.logit is not None]
    np.testing.assert_allclose(*zip(*logits, strict=True), atol=CLOSE)
    assert api.live == set()


@pytest.mark.usefixtures("poisoned")
def test_memory_that_cannot_be_locked_passes_the_slots_buffers(load, api):
    api.registers = False
    with load() as detector:
        found = [record.logit for record in detector.detect_many(stills(11), 4, 2)]
        slots = [slot.buffers["images"] for slot in detector.wait()._slots]
        assert all(any(within(source, size, one.array) for one in slots) for source, size in api.to_device)
        np.testing.assert_allclose(found, [detector.detect(source).logit for source in stills(11)], atol=CLOSE)
        assert api.last_error == 0
    assert api.live == set()


def test_a_failed_batch_lets_its_images_go(load, plan):
    with load() as detector:
        rows = detector.rows(4, 1)
        plan[1].out_of_memory = True
        try:
            with pytest.raises(Exception, match="out of memory"):
                list(detector.detect_many(stills(9), 4, 1))
        finally:
            plan[1].out_of_memory = False
        assert freed(rows)


def test_larger_memory_is_locked_beside_the_first_and_both_are_unlocked(load, api):
    with load() as detector:
        list(detector.detect_many(stills(4), 2, 1))
        list(detector.detect_many(stills(8), 4, 2))
        assert len(api.registered) == 2
    assert api.live == set()
