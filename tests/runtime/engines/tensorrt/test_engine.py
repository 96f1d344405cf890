"""The TensorRT backend on a fake GPU that runs as late as it may: contexts, graphs, scratch memory, slots, messages."""

import logging
import threading

import numpy as np
import pytest
from cinemae.export.tensorrt import build_plan
from cinemae.runtime.core.errors import EngineError
from cinemae.runtime.engines.cuda.buckets import bucket_of, buckets, profiles
from cinemae.runtime.engines.cuda.driver import Cuda
from cinemae.runtime.engines.load import best_batch, load_engine, read_engine_manifest
from cinemae.runtime.engines.tensorrt.engine import open_engine
from cinemae.runtime.scoring.detector import Detector
from cuda_fakes import FakeCudaApi
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
        self.trt = FakeTensorRt(version, strongly_typed=not version.startswith("8"))
        self.path = folder / "tiny.plan"
        build_plan(source, self.path, batches(*batch), self.trt, Cuda(FakeCudaApi()))
        self.trt.recorded, self.trt.contexts = [], []
        self.api = FakeCudaApi()

    def open(self):
        return open_engine(self.path, "tensorrt", None, self.trt, Cuda(self.api))


@pytest.fixture
def gpu(tiny_fp16_engine, tmp_path):
    return Gpu(tiny_fp16_engine, tmp_path)


def agrees(output, expected, rows):
    np.testing.assert_allclose(output.logit, expected.logit[rows], atol=CLOSE)
    np.testing.assert_allclose(output.stats, expected.stats[rows], atol=CLOSE)
    np.testing.assert_allclose(output.lcas, expected.lcas[rows], atol=CLOSE, rtol=CLOSE)


def test_buckets_and_profiles():
    assert buckets(1, 32) == [1, 2, 4, 8, 16, 32]
    assert buckets(3, 12) == [3, 4, 8, 12]
    assert [bucket_of(n, [3, 4, 8]) for n in (1, 3, 5, 8)] == [3, 3, 8, 8]
    assert profiles((1, 8, 32)) == ((1, 8, 32), (1, 1, 4))
    assert profiles((4, 6, 32)) == ((4, 6, 32),)
    assert profiles((1, 1, 4)) == ((1, 1, 4),)


@pytest.mark.parametrize("version", VERSIONS)
def test_batch_sizes_in_any_order_give_their_own_scores(version, tiny_fp16_engine, tmp_path, images, expected):
    gpu = Gpu(tiny_fp16_engine, tmp_path, version)
    engine = gpu.open()
    assert read_engine_manifest(gpu.path) == engine.manifest
    for count in (2, 3, 8, 1, 2, 5, 3, 7, 1, 8, 4, 2, 0, 16, 11):
        agrees(engine.infer(images[:count]), expected, slice(0, count))
        agrees(engine.infer(images[count:][:3]), expected, slice(count, count + 3))
    engine.close()
    engine.close()
    assert gpu.api.live == set()
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
    engine.close()


@pytest.mark.parametrize("version", VERSIONS)
def test_contexts_share_their_scratch_memory(version, tiny_fp16_engine, tmp_path, images):
    gpu = Gpu(tiny_fp16_engine, tmp_path, version)
    engine = gpu.open()
    for _ in range(2):
        engine.infer(images[:8])
        engine.infer(images[:1])
    assert len({context.memory for context in gpu.trt.contexts}) == 1
    assert OWN not in {context.memory for context in gpu.trt.contexts}
    engine.close()


def test_a_small_batch_size_needs_little_memory(tiny_fp16_engine, tmp_path, images, expected):
    """The scratch memory grows with the largest batch in use; graphs that hold the old address are captured again."""
    gpu = Gpu(tiny_fp16_engine, tmp_path)
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
    engine.close()
    assert gpu.api.live == set()


def test_small_batches_use_the_small_profile(gpu, images):
    engine = gpu.open()
    engine.infer(images[:8])
    engine.infer(images[:2])
    assert [(context.batch, context.profile) for context in gpu.trt.contexts] == [(8, 0), (2, 1)]
    engine.close()


def test_a_last_batch_below_the_smallest_is_padded(tiny_fp16_engine, tmp_path, images, expected):
    gpu = Gpu(tiny_fp16_engine, tmp_path, batch=(4, 4, 8))
    engine = gpu.open()
    agrees(engine.infer(images[:3]), expected, slice(0, 3))
    agrees(engine.infer(images[:9]), expected, slice(0, 9))
    assert {context.batch for context in gpu.trt.contexts} == {4, 8}
    engine.close()


def test_a_capture_that_fails_is_told_once_and_done_without(gpu, images, expected, caplog):
    gpu.trt.no_graphs = True
    engine = gpu.open()
    with caplog.at_level(logging.WARNING):
        for count in (8, 2, 8, 2):
            agrees(engine.infer(images[:count]), expected, slice(0, count))
    (said,) = [record.message for record in caplog.records]
    assert "operation not permitted when stream is capturing" in said
    assert gpu.api.captures == gpu.api.launches == 0
    engine.close()
    assert gpu.api.live == set()


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
    engine.close()
    assert gpu.api.live == set()


def test_closing_ends_those_who_wait(gpu, images):
    engine = gpu.open()
    results = [engine.begin(images[:2]), engine.begin(images[:2])]
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
    for result in results:
        with pytest.raises(EngineError, match="closed"):
            result()
    assert gpu.api.live == set()


def test_a_detector_scores_with_batches_in_flight(gpu, images):
    engine = gpu.open()
    with Detector(engine, engine.manifest) as detector:
        records = list(detector.detect_many([*images, b"no image", *images], batch_size=3, workers=2))
        alone = [detector.detect(image).logit for image in images]
    scored = [record.logit for record in records if record.status == "ok"]
    np.testing.assert_allclose(scored, [*alone, *alone], atol=CLOSE)
    assert [record.status for record in records].index("error") == 16
    assert gpu.api.live == set()


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
    assert gpu.api.live == set()


def test_the_best_batch_is_the_plans(gpu, tiny_engine):
    assert best_batch(gpu.path) == 4
    assert best_batch(tiny_engine) is None
    assert best_batch() is None
