"""IO binding of onnxruntime's CUDA provider: inputs and outputs stay in GPU memory, CUDA graphs replay the kernels.

Conditions of the graphs (onnxruntime's documentation of the CUDA provider): every node runs on the GPU, no control
flow, and addresses and shapes stay the same for a graph. So there is one binding with its own graph id for each bucket
of batch sizes, and a batch in between is padded. onnxruntime keeps graphs for each thread that runs
(`CUDAExecutionProvider::GetPerThreadContext`), so one thread of its own binds, runs and frees, whoever asks.
"""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from ...core.manifest import Manifest
from ..base import EngineOutput, joined, no_output, output_shapes
from ..cuda.buckets import bucket_of, buckets
from ..cuda.driver import Cuda
from .session import Opened

LARGEST = 64
"""Images of one run, which bounds the GPU memory; a larger batch is split."""

NO_GRAPH = "-1"

_log = logging.getLogger(__name__)


class BoundSession:
    """Runs a session of the CUDA provider through IO binding. `run` may be called from several threads."""

    def __init__(self, ort: Any, opened: Opened, manifest: Manifest, cuda: Cuda | None, device: str = "cuda") -> None:
        """Wrap a session.

        Args:
            ort: onnxruntime.
            opened: its session, with the CUDA provider first.
            manifest: of the engine.
            cuda: makes page-locked host buffers; None for ordinary ones.
            device: where the bound memory lies.
        """
        self._device = device
        self._ort, self._session, self._cuda, self.graphs = ort, opened.session, cuda, opened.graphs
        self._manifest, self._outputs = manifest, output_shapes(manifest)
        self._sizes = buckets(1, LARGEST)
        self._bindings: dict[int, tuple[np.ndarray, Any, list[Any], Any]] = {}
        self._pinned: list[np.ndarray] = []
        self._thread = ThreadPoolExecutor(1, "cuda-graphs")

    def run(self, images: np.ndarray) -> EngineOutput:
        """Logits, statistics and LCAS of uint8 [B, S, S, 3]; raises what onnxruntime raises."""
        chunks = list(self._thread.map(self._run, (images[at : at + LARGEST] for at in range(0, len(images), LARGEST))))
        return joined(chunks) if chunks else no_output(self._manifest)

    def _run(self, images: np.ndarray) -> EngineOutput:
        batch = len(images)
        bucket = bucket_of(batch, self._sizes)
        if bucket not in self._bindings:
            self._bindings[bucket] = self._bind(bucket)
        host, on_device, outputs, io = self._bindings[bucket]
        host[:batch] = images
        on_device.update_inplace(host)
        if self.graphs:
            try:
                self._session.run_with_iobinding(io, self._options(str(bucket)))
            except Exception as error:  # a capture that fails; whether the run does too shows without it
                self.graphs = False
                _log.warning("onnxruntime runs without CUDA graphs, which cost a little speed: %s", error)
        if not self.graphs:
            self._session.run_with_iobinding(io, self._options(NO_GRAPH))
        return EngineOutput(*(np.array(value.numpy()[:batch]) for value in outputs))  # copied: reused

    def _options(self, graph: str) -> Any:
        options = self._ort.RunOptions()
        options.add_run_config_entry("gpu_graph_id", graph)
        return options

    def _bind(self, bucket: int) -> tuple[np.ndarray, Any, list[Any], Any]:
        """Memory for a bucket that is bound to the session's inputs and outputs.

        Returns:
            uint8 [bucket, S, S, 3] on the host, page-locked where cuda-python is there; the same on the GPU; logit,
            stats and lcas on the GPU (OrtValues); onnxruntime's binding of these.
        """
        size = self._manifest.preprocess.crop
        host = np.zeros((bucket, size, size, 3), np.uint8)
        if self._cuda is not None:
            host = self._cuda.pinned(host.shape, host.dtype)
            self._pinned.append(host)
            host[:] = 0
        images = self._ort.OrtValue.ortvalue_from_numpy(host, self._device, 0)
        io = self._session.io_binding()
        io.bind_ortvalue_input("images", images)
        outputs = []
        for name, shape in self._outputs.items():
            value = self._ort.OrtValue.ortvalue_from_shape_and_type([bucket, *shape], np.float32, self._device, 0)
            io.bind_ortvalue_output(name, value)
            outputs.append(value)
        return host, images, outputs, io

    def close(self) -> None:
        """Free the buffers and let go of the session, after the batches that run. Nothing may run afterwards."""
        self._thread.submit(self._free).result()
        self._thread.shutdown()

    def _free(self) -> None:
        self._bindings.clear()
        self._session = None
        while self._pinned and self._cuda is not None:
            self._cuda.free_pinned(self._pinned.pop())
