"""onnxruntime's CUDA provider: sessions on a fake, IO binding for real, its memory on the CPU.

What the fake says is what the Python of onnxruntime-gpu 1.31.1 does (capi/onnxruntime_inference_collection.py,
`InferenceSession.__init__`) and the message of libonnxruntime.so.1.31.1 for a graph that it refuses. Graphs belong to
the thread that captured them (`CUDAExecutionProvider::GetPerThreadContext` in
onnxruntime/core/providers/cuda/cuda_execution_provider.cc; "CUDA EP maintains a separate cuda graph per thread" in
`CUDAGraphManager::Replay` of cuda_graph.cc beside it).
"""

import threading
import types
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from cinemae.runtime.core.errors import EngineError, MissingDependencyError
from cinemae.runtime.engines.cuda.driver import Cuda
from cinemae.runtime.engines.load import load_engine
from cinemae.runtime.engines.onnx import binding as onnx_binding
from cinemae.runtime.engines.onnx import engine as onnx_module
from cinemae.runtime.engines.onnx.binding import BoundSession
from cinemae.runtime.engines.onnx.library import import_onnxruntime, preload
from cinemae.runtime.engines.onnx.session import CPU, CUDA
from cuda_fakes import FakeCudaApi

REFUSED = "This session cannot use the graph capture feature as requested by the user  as all compute graph nodes"
CLOSE = 1e-5


class CudaSession:
    """A session that says it runs on CUDA, and computes on the CPU; records the graph id of each run."""

    made: list

    def __init__(self, path, options=None, providers=None, enable_fallback=1):
        asked = dict(providers)
        if asked.get(CUDA, {}).get("enable_cuda_graph") == "1" and self.refuses:
            if enable_fallback:
                print("*************** EP Error ***************")
            raise RuntimeError(REFUSED)
        self.real = type(self).session(path, options, providers=[CPU])
        self.providers, self.asked, self.ids, self.threads = list(asked), asked, [], set()
        type(self).made.append(self)

    def get_providers(self):
        return self.providers

    def disable_fallback(self):
        pass

    def get_inputs(self):
        return self.real.get_inputs()

    def get_outputs(self):
        return self.real.get_outputs()

    def run(self, outputs, feeds):
        return self.real.run(outputs, feeds)

    def io_binding(self):
        self.threads.add(threading.get_ident())
        return self.real.io_binding()

    def run_with_iobinding(self, io, options):
        graph = options.get_run_config_entry("gpu_graph_id")
        self.ids.append(graph)
        self.threads.add(threading.get_ident())
        if self.fails and graph != "-1":
            raise RuntimeError("CUDA failure 901: operation would make the legacy stream depend")
        self.real.run_with_iobinding(io, options)


@pytest.fixture
def cuda_session(monkeypatch):
    """onnxruntime with a CUDA provider, and memory of the GPU on the CPU."""
    ort = import_onnxruntime()
    CudaSession.session, CudaSession.made = ort.InferenceSession, []
    CudaSession.refuses = CudaSession.fails = False
    monkeypatch.setattr(ort, "get_available_providers", lambda: [CUDA, CPU])
    monkeypatch.setattr(ort, "InferenceSession", CudaSession)
    monkeypatch.setattr(ort, "preload_dlls", lambda: None, raising=False)
    bound = BoundSession.__init__
    monkeypatch.setattr(BoundSession, "__init__", lambda self, *rest: bound(self, *rest, device="cpu"))
    monkeypatch.setattr(onnx_module.Cuda, "load", lambda: Cuda(FakeCudaApi()))
    return CudaSession


def plain(path, images):
    engine = load_engine(path, "cpu")
    output = engine.infer(images)
    engine.close()
    return output


def test_outputs_are_those_of_a_plain_run_in_any_order_of_sizes(tiny_engine, random_images, cuda_session, monkeypatch):
    monkeypatch.setattr(onnx_binding, "LARGEST", 4)
    expected = vars(plain(tiny_engine, random_images))
    cuda_session.made.clear()
    engine = load_engine(tiny_engine, "cuda")
    for count in (7, 2, 3, 1, 0, 6, 4):
        found = engine.infer(random_images[:count])
        for name, value in vars(found).items():
            np.testing.assert_allclose(value, expected[name][:count], atol=CLOSE)
    (made,) = cuda_session.made[:1]
    assert made.asked[CUDA] == {"use_tf32": "0", "cudnn_conv_algo_search": "HEURISTIC", "enable_cuda_graph": "1"}
    assert set(made.ids) == {"1", "2", "4"}
    assert engine.notes == ()
    live = FakeCudaApi.current.live
    assert len(live) == 3  # page-locked, one for each size
    engine.close()
    assert live == set()
    with pytest.raises(EngineError, match="closed"):
        engine.infer(random_images)


def test_the_thread_that_captures_a_graph_replays_and_frees_it(tiny_engine, random_images, cuda_session, monkeypatch):
    freed, free = set(), FakeCudaApi.cudaFreeHost
    monkeypatch.setattr(
        FakeCudaApi, "cudaFreeHost", lambda self, at: (freed.add(threading.get_ident()), free(self, at))[1]
    )
    engine = load_engine(tiny_engine, "cuda")
    engine.infer(random_images[:2])  # as a server warms up before its own threads score
    for _ in range(2):
        with ThreadPoolExecutor(1) as caller:
            caller.submit(engine.infer, random_images[:3]).result()
    engine.close()
    (made,) = cuda_session.made
    assert len(made.threads) == 1
    assert made.threads == freed


def test_refused_graphs_are_told_and_done_without(tiny_engine, random_images, cuda_session, capsys):
    cuda_session.refuses = True
    engine = load_engine(tiny_engine, "cuda")
    assert engine.provider == CUDA
    assert engine.notes[0].startswith("without CUDA graphs: This session cannot use the graph capture feature")
    engine.infer(random_images)
    assert set(cuda_session.made[0].ids) == {"-1"}
    assert capsys.readouterr().out == ""
    engine.close()


def test_a_capture_that_fails_is_told_once_and_done_without(tiny_engine, random_images, cuda_session, caplog):
    cuda_session.fails = True
    engine = load_engine(tiny_engine, "auto")
    first = engine.infer(random_images[:2])
    engine.infer(random_images)
    np.testing.assert_allclose(first.logit, plain(tiny_engine, random_images[:2]).logit, atol=CLOSE)
    assert len([record for record in caplog.records if "without CUDA graphs" in record.message]) == 1
    engine.close()


def test_without_cuda_python_a_note_says_that_copies_are_slower(tiny_engine, random_images, cuda_session, monkeypatch):
    def missing():
        raise MissingDependencyError("cuda-python is not installed: pip ...")

    monkeypatch.setattr(onnx_module.Cuda, "load", missing)
    engine = load_engine(tiny_engine, "cuda")
    assert engine.notes == ("copies to the GPU are slower than they could be: cuda-python is not installed: pip ...",)
    assert engine.infer(random_images).logit.shape == (7,)
    engine.close()


def test_libraries_are_preloaded_for_the_gpu_alone_and_stdout_stays_clean(monkeypatch, capsys):
    """`preload_dlls`, from 1.21 on, prints on stdout what it cannot load."""
    source = "called = []\ndef preload_dlls():\n    called.append(1)\n    print('Failed to load libcudnn.so.9')\n"
    ort = types.ModuleType("onnxruntime")
    exec(source, vars(ort))
    for provider in ("CPUExecutionProvider", "CUDAExecutionProvider", "TensorrtExecutionProvider"):
        preload(ort, provider)
    assert len(ort.called) == 2
    assert capsys.readouterr().out == ""
    preload(types.ModuleType("an older one"), "CUDAExecutionProvider")
