"""CUDA runtime calls: what is missing is said with the fix, and a capture that fails leaves nothing behind."""

import sys
from types import ModuleType

import numpy as np
import pytest
from cinemae.runtime.core.errors import EngineError, MissingDependencyError
from cinemae.runtime.engines.cuda.driver import Cuda
from cuda_fakes import FakeCudaApi, NoDriverApi, Status


def install(monkeypatch, api):
    """Let `from cuda.bindings import runtime` give `api`."""
    bindings = ModuleType("cuda.bindings")
    bindings.runtime = api
    monkeypatch.setitem(sys.modules, "cuda", ModuleType("cuda"))
    monkeypatch.setitem(sys.modules, "cuda.bindings", bindings)


def test_cuda_python_up_to_12_8_without_a_driver(monkeypatch):
    """It raises RuntimeError from the first call, where later versions return a status."""
    install(monkeypatch, NoDriverApi())
    with pytest.raises(MissingDependencyError, match=r"no NVIDIA driver \(Failed to dlopen libcuda.so.1\): check"):
        Cuda.load()


def test_later_cuda_python_without_a_gpu(monkeypatch):
    install(monkeypatch, FakeCudaApi(no_device=True))
    with pytest.raises(MissingDependencyError, match=r"no usable NVIDIA GPU.*use --device cpu"):
        Cuda.load().device()


def test_without_cuda_python_both_pairs_are_named(monkeypatch):
    for name in ("cuda", "cuda.bindings"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MissingDependencyError, match=r"tensorrt-cu13.*drivers before 580.*tensorrt-cu12"):
        Cuda.load()


def test_out_of_memory_says_what_to_do():
    cuda = Cuda(FakeCudaApi(memory_limit=100))
    with pytest.raises(EngineError, match="cudaErrorMemoryAllocation; use a smaller --batch-size or free GPU memory"):
        cuda.allocate(101)


def fails():
    raise EngineError("the work")


@pytest.mark.parametrize("how", ["work", "invalidated", "instantiate"])
def test_a_capture_that_fails_leaves_nothing_and_tells_its_cause(how):
    api = FakeCudaApi()
    cuda = Cuda(api)
    stream = cuda.stream()

    def work():
        if how != "instantiate":
            api.capturing = "invalidated" if how == "invalidated" else api.capturing
            fails()

    api.instantiates = how != "instantiate"
    with pytest.raises(EngineError, match="cudaErrorMemoryAllocation" if how == "instantiate" else "the work"):
        cuda.capture(stream, work)
    assert api.live == {("stream", stream)}
    assert (api.capturing, api.last_error) == (None, Status.cudaSuccess)
    api.instantiates = True
    cuda.call("cudaGraphExecDestroy", cuda.capture(stream, lambda: None))
    assert api.live == {("stream", stream)}


def test_the_fake_runs_a_copy_only_when_it_is_waited_for():
    """What makes the fake find a missing event: without one, the second stream reads what is not there yet."""
    cuda = Cuda(FakeCudaApi())
    first, second, event = cuda.stream(), cuda.stream(), cuda.event()
    device, (host, copied) = cuda.allocate(4), (cuda.pinned((4,), np.dtype(np.uint8)) for _ in range(2))
    host[:] = 7
    for waits in (False, True):
        cuda.to_device(device, host, first)
        cuda.call("cudaEventRecord", event, first)
        if waits:
            cuda.call("cudaStreamWaitEvent", second, event, 0)
        cuda.to_host(copied, device, second)
        cuda.call("cudaStreamSynchronize", second)
        assert copied.tolist() == [7 * waits] * 4
