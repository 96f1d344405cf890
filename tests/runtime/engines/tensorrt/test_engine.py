"""The TensorRT backend on a fake GPU that runs as late as it may: contexts, graphs, scratch memory, slots, messages."""

import logging
import threading

import numpy as np
import pytest
from cinemae.export.tensorrt import build_plan
from cinemae.runtime.core.errors import EngineError
from cinemae.runtime.engines.cuda.driver import Cuda
from cinemae.runtime.engines.load import best_batch, load_engine, read_engine_manifest
from cinemae.runtime.engines.tensorrt.engine import open_engine
from cinemae.runtime.scoring.detector import Detector
from cuda_fakes import FakeCudaApi, Status
from tensorrt_engine_fakes import OWN, SCRATCH_PER_IMAGE
from tensorrt_fakes import FakeTensorRt, batches

VERSIONS = ("8.6.1", "10.3.0.26", "11.4.0.106")
CLOSE = 1e-3
"""onnxruntime computes a batch and a single image of the fp16 graph in another order."""


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(1).integers(0, 256, (16, 64, 64, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def expected(tiny_fp16_engine, images):
    with load_engine(tiny_fp16_engine, device="cpu") as engine:
        return engine.infer(images)


class Gpu:
    """A plan and what opens it."""

    def __init__(self, source, folder, version="10.3.0.26", batch=(1, 4, 8)):
        self.trt = FakeTensorRt(version)
        self.path = folder / "tiny.plan"
        build_plan(source, self.path, batches(*batch), self.trt, Cuda(FakeCudaApi()))
        self.trt.recorded, self.trt.contexts = [], []
        self.api, self.engine = FakeCudaApi(), None

    def open(self):
        self.engine = open_engine(self.path, "tensorrt", None, self.trt, Cuda(self.api))
        return self.engine


@pytest.fixture
def plan(tiny_fp16_engine, tmp_path):
    """Builds a plan; in the end its engine is closed, and nothing may be left on the GPU."""
    made = []
    yield lambda **options: made.append(Gpu(tiny_fp16_engine, tmp_path, **options)) or made[-1]
    (gpu,) = made
    if gpu.engine is not None:
        gpu.engine.close()
    assert gpu.api.live == set()


@pytest.fixture
def gpu(plan):
    return plan()


def agrees(output, expected, rows):
    np.testing.assert_allclose(output.logit, expected.logit[rows], atol=CLOSE)
    np.testing.assert_allclose(output.stats, expected.stats[rows], atol=CLOSE)
    np.testing.assert_allclose(output.lcas, expected.lcas[rows], atol=CLOSE, rtol=CLOSE)


@pytest.mark.parametrize("version", VERSIONS)
def test_batch_sizes_in_any_order_give_their_own_scores(version, plan, images, expected):
    gpu = plan(version=version)
    engine = gpu.open()
    assert read_engine_manifest(gpu.path) == engine.manifest
    for count in (2, 3, 8, 1, 2, 5, 3, 7, 1, 8, 4, 2, 0, 16, 11):
        agrees(engine.infer(images[:count]), expected, slice(0, count))
        agrees(engine.infer(images[count:][:3]), expected, slice(count, count + 3))
    engine.close()
    with pytest.raises(EngineError, match="closed"):
        engine.infer(images)


def test_a_context_keeps_its_shape_and_has_one_graph(gpu, images):
    engine = gpu.open()
    for count in (8, 3, 8, 4, 8, 3):
        engine.infer(images[:count])
    shapes = [shape[0] for _, shape in gpu.trt.calls("set_input_shape")]
    assert shapes == [8, 4]
    assert gpu.api.captures == len(gpu.trt.contexts) == 2
    assert gpu.api.launches == 4  # the first run of each is not replayed


@pytest.mark.parametrize("version", VERSIONS)
def test_contexts_share_their_scratch_memory(version, plan, images):
    gpu = plan(version=version)
    engine = gpu.open()
    for _ in range(2):
        engine.infer(images[:8])
        engine.infer(images[:1])
    assert len({context.memory for context in gpu.trt.contexts}) == 1
    assert OWN not in {context.memory for context in gpu.trt.contexts}


def test_a_small_batch_size_needs_little_memory(gpu, images, expected):
    """The scratch memory grows with the largest batch in use; graphs that hold the old address are captured again."""
    engine = gpu.open()
    agrees(engine.infer(images[:2]), expected, slice(0, 2))
    held = sum(len(buffer) for buffer in gpu.api.memory.values())
    gpu.api.memory_limit = held + SCRATCH_PER_IMAGE
    with pytest.raises(EngineError, match="cudaErrorMemoryAllocation; use a smaller --batch-size"):
        engine.infer(images[:8])
    agrees(engine.infer(images[:2]), expected, slice(0, 2))
    gpu.api.memory_limit = None
    agrees(engine.infer(images[:8]), expected, slice(0, 8))
    agrees(engine.infer(images[:2]), expected, slice(0, 2))


def test_small_batches_use_the_small_profile(gpu, images):
    engine = gpu.open()
    engine.infer(images[:8])
    engine.infer(images[:2])
    assert [(context.batch, context.profile) for context in gpu.trt.contexts] == [(8, 0), (2, 1)]


def test_a_last_batch_below_the_smallest_is_padded(plan, images, expected):
    gpu = plan(batch=(4, 4, 8))
    engine = gpu.open()
    agrees(engine.infer(images[:3]), expected, slice(0, 3))
    agrees(engine.infer(images[:9]), expected, slice(0, 9))
    assert {context.batch for context in gpu.trt.contexts} == {4, 8}


def test_a_capture_that_fails_is_told_once_and_done_without(gpu, images, expected, caplog):
    gpu.trt.no_graphs = True
    engine = gpu.open()
    with caplog.at_level(logging.WARNING):
        for count in (8, 2, 8, 2):
            agrees(engine.infer(images[:count]), expected, slice(0, count))
    (said,) = [record.message for record in caplog.records]
    assert "operation not permitted when stream is capturing" in said
    assert gpu.api.captures == gpu.api.launches == 0


def test_the_reason_of_a_failure_is_told_and_stdout_stays_clean(gpu, images, capsys):
    engine = gpu.open()
    gpu.trt.out_of_memory = True
    with pytest.raises(EngineError, match=r"run a batch of 2: .*\(out of memory\); use a smaller --batch-size"):
        engine.infer(images[:2])
    gpu.trt.out_of_memory = False
    engine.close()
    gpu.trt.loads = False
    with pytest.raises(EngineError, match=r"cannot load it: .*magic tag does not match\); build it again with cinemae"):
        gpu.open()
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.count("TensorRT: ") == 2


def test_two_batches_are_in_flight_and_a_third_waits(gpu, images, expected):
    engine = gpu.open()
    engine.infer(images[:4])
    engine.infer(images[:4])
    first, second = engine.begin(images[:4]), engine.begin(list(images[4:7]))
    third = []
    waiting = threading.Thread(target=lambda: third.append(engine.begin(images[8:12])))
    waiting.start()
    waiting.join(0.1)
    assert not third
    agrees(first(), expected, slice(0, 4))
    waiting.join()
    agrees(second(), expected, slice(4, 7))
    agrees(third[0](), expected, slice(8, 12))


def test_closing_ends_those_who_wait_and_waits_for_batches_in_flight(gpu, images, expected):
    engine = gpu.open()
    results = [engine.begin(images[:2]), engine.begin(images[2:4])]
    failed = []

    def begin():
        try:
            engine.begin(images[:2])
        except EngineError as error:
            failed.append(str(error))

    waiting = threading.Thread(target=begin)
    waiting.start()
    engine.close()
    waiting.join()
    assert "closed" in failed[0]
    assert gpu.api.live == set()
    for place, result in enumerate(results):
        agrees(result(), expected, slice(2 * place, 2 * place + 2))


def test_no_event_is_destroyed_while_a_thread_waits_for_it(gpu, images, expected, monkeypatch):
    """Its stream and event are gone then: the result is undefined (cudaEventDestroy in cuda_runtime_api.h)."""
    engine, waits, closes = gpu.open(), threading.Event(), threading.Event()
    result, found, synchronize = engine.begin(images[:2]), [], FakeCudaApi.cudaEventSynchronize

    def slowly(api, event):
        waits.set()
        assert not closes.wait(0.2), "closed meanwhile"
        assert ("event", event) in api.live
        return synchronize(api, event)

    monkeypatch.setattr(FakeCudaApi, "cudaEventSynchronize", slowly)
    taking = threading.Thread(target=lambda: found.append(result()))
    taking.start()
    waits.wait()
    engine.close()
    closes.set()
    taking.join()
    agrees(found[0], expected, slice(0, 2))


def test_a_failed_batch_leaves_nothing_on_any_stream(gpu, images, expected):
    """Work that reads the slot's input must not run when the slot holds the next batch."""
    engine = gpu.open()
    engine.infer(images[:2])
    gpu.api.fails = {"cudaStreamWaitEvent": Status.cudaErrorMemoryAllocation}
    with pytest.raises(EngineError, match="cudaStreamWaitEvent failed"):
        engine.begin(images[:2])
    assert not any(any(queue) for queue in gpu.api.streams.values())
    record = gpu.api.cudaEventRecord
    gpu.api.cudaEventRecord = lambda event, stream: (
        gpu.api.failed(Status.cudaErrorMemoryAllocation) if gpu.api.launches else record(event, stream)
    )
    gpu.api.launches = 0
    with pytest.raises(EngineError, match="cudaEventRecord failed"):
        engine.begin(images[:2])  # after the computation is queued
    assert not any(any(queue) for queue in gpu.api.streams.values())
    gpu.api.cudaEventRecord = record
    agrees(engine.infer(images[4:6]), expected, slice(4, 6))


def test_a_sticky_error_is_told_and_not_masked_by_closing(gpu, images):
    engine = gpu.open()
    engine.infer(images[:2])
    result = engine.begin(images[:2])
    held = len(gpu.api.live)
    gpu.api.sticky = True
    with pytest.raises(EngineError, match="cudaEventSynchronize failed: cudaErrorIllegalAddress"), engine:
        result()
    freed = [name for name in gpu.api.called if "Free" in name or "Destroy" in name]
    assert len(freed) >= held  # each is tried, whatever the one before returned
    gpu.api.live.clear()


def test_a_memory_size_of_0_is_an_error(gpu, images):
    engine = gpu.open()
    gpu.trt.no_size = True
    with pytest.raises(EngineError, match=r"size its scratch memory: .*updateDeviceMemorySizeForShapes: Error Code 4"):
        engine.infer(images[:2])
    gpu.trt.no_size = False
    engine.infer(images[:2])


def test_a_detector_scores_with_batches_in_flight(gpu, images):
    engine = gpu.open()
    with Detector(engine, engine.manifest) as detector:
        records = list(detector.detect_many([*images, b"no image", *images], batch_size=3, workers=2))
        alone = [detector.detect(image).logit for image in images]
    scored = [record.logit for record in records if record.status == "ok"]
    np.testing.assert_allclose(scored, [*alone, *alone], atol=CLOSE)
    assert [record.status for record in records].index("error") == 16


def test_a_failing_batch_is_scored_one_by_one(gpu, images):
    engine = gpu.open()
    with Detector(engine, engine.manifest) as detector:
        list(detector.detect_many(images[:1]))
        gpu.api.memory_limit = sum(len(buffer) for buffer in gpu.api.memory.values())
        records = list(detector.detect_many(images[:8], batch_size=8))
    assert [record.status for record in records] == ["ok"] * 8


def test_a_scan_that_is_given_up_ends(gpu, images):
    engine = gpu.open()
    with Detector(engine, engine.manifest) as detector:
        scored = detector.detect_many(iter(list(images) * 20), batch_size=2)
        next(scored)
        scored.close()


def test_the_best_batch_is_the_plans(gpu, tiny_engine):
    assert best_batch(gpu.path) == 4
    assert best_batch(tiny_engine) is None
    assert best_batch() is None
