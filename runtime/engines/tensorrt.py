"""TensorRT backend: runs a plan with page-locked buffers and one CUDA graph for each batch size.

Only calls that TensorRT 8.6, 10 and 11 share are used: `num_io_tensors`, `set_tensor_address`, `execute_async_v3`.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import EngineError, MissingDependencyError, UsageError
from ..install import pip_install
from ..manifest import Manifest
from .base import EngineOutput, checked_images
from .cuda import Cuda
from .plan_sidecar import Machine, PlanSidecar, check_machine, check_plan, check_source, read_sidecar, rebuild_command

PROVIDER = "TensorRT"
MAX_GRAPHS = 16
"""CUDA graphs kept, for the batch sizes used last. A folder needs two: full batches and the last, smaller one."""


def import_tensorrt() -> Any:
    """Import TensorRT.

    Raises:
        MissingDependencyError: TensorRT is not installed or its libraries do not load; names the pip command.
    """
    try:
        import tensorrt
    except Exception as error:  # a missing library raises errors of many types
        raise MissingDependencyError(f"TensorRT cannot be imported ({error}): {pip_install('tensorrt')}") from None
    return tensorrt


def read_plan_manifest(path: Path) -> Manifest:
    """The manifest in a plan's sidecar.

    Raises:
        EngineError: the sidecar is missing or invalid.
    """
    return read_sidecar(path).manifest


@dataclass(frozen=True)
class Buffer:
    """Memory of one input or output, for the largest batch.

    Attributes:
        row_bytes: bytes of one image's share.
        device: pointer to device memory.
        host: pointer to page-locked host memory.
        array: a numpy array over `host`, [largest batch, ...].
    """

    row_bytes: int
    device: int
    host: int
    array: np.ndarray


class TensorRtEngine:
    """A plan on the current GPU. `infer` may be called from several threads; a lock serialises the calls."""

    provider = PROVIDER

    def __init__(
        self, path: Path, sidecar: PlanSidecar, trt: Any, cuda: Cuda, engine: Any, notes: tuple[str, ...]
    ) -> None:
        self.path, self.manifest, self.notes = path, sidecar.manifest, notes
        self.largest = sidecar.batch[2]
        self._cuda, self._engine = cuda, engine
        self._context: Any = engine.create_execution_context()
        if self._context is None:
            raise EngineError(f"{path}: TensorRT has no memory for an execution context; free GPU memory")
        self._lock = threading.Lock()
        self._graphs: OrderedDict[int, Any] = OrderedDict()
        self._buffers: dict[str, Buffer] = {}
        self._stream = cuda.stream()
        try:
            for name, shape, dtype in self._ports(trt):
                self._buffers[name] = self._buffer(shape, np.dtype(dtype))
                if not self._context.set_tensor_address(name, self._buffers[name].device):
                    raise EngineError(f"{path}: TensorRT refuses the buffer of {name!r}")
        except BaseException:
            self.close()
            raise

    def _ports(self, trt: Any) -> list[tuple[str, tuple[int, ...], type]]:
        """Names, shapes without batch and dtypes of the plan's tensors, after checking that the plan has them."""
        size, n_patches = self.manifest.preprocess.crop, self.manifest.backbone.config.n_patches
        wanted: list[tuple[str, tuple[int, ...], type]] = [
            ("images", (size, size, 3), np.uint8), ("logit", (), np.float32),
            ("stats", (3,), np.float32), ("lcas", (n_patches,), np.float32),
        ]  # fmt: skip
        engine = self._engine
        names = [engine.get_tensor_name(i) for i in range(engine.num_io_tensors)]
        if sorted(names) != sorted(name for name, _, _ in wanted):
            raise EngineError(f"{self.path}: its tensors are {names}; not an engine of this project")
        for name, shape, dtype in wanted:
            actual = tuple(engine.get_tensor_shape(name))[1:]
            actual_type = np.dtype(trt.nptype(engine.get_tensor_dtype(name)))
            is_input = engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT
            if actual != shape or actual_type != np.dtype(dtype) or is_input != (name == "images"):
                raise EngineError(
                    f"{self.path}: tensor {name!r} is {actual_type} {actual}, expected {shape}; build it again"
                )
        return wanted

    def _buffer(self, shape: tuple[int, ...], dtype: np.dtype) -> Buffer:
        row_bytes = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
        device = self._cuda.allocate(row_bytes * self.largest)
        try:
            host, array = self._cuda.pinned((self.largest, *shape), dtype)
        except BaseException:
            self._cuda.free(device)
            raise
        return Buffer(row_bytes, device, host, array)

    def infer(self, images: np.ndarray) -> EngineOutput:
        """Score a batch. A batch larger than the plan's profile allows is split.

        Args:
            images: uint8 [B, S, S, 3], RGB.

        Raises:
            EngineError: the engine is closed, or TensorRT or CUDA fails.
            UsageError: another dtype or shape.
        """
        images = checked_images(images, self.manifest)
        with self._lock:
            if self._context is None:
                raise EngineError(f"{self.path}: the engine is closed")
            starts = range(0, len(images), self.largest)
            parts = [self._run(images[start : start + self.largest]) for start in starts] or [self._empty()]
        return EngineOutput(*(np.concatenate(column) for column in zip(*parts, strict=True)))

    def _empty(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return self._results(0)

    def _run(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        batch = len(images)
        self._buffers["images"].array[:batch] = images
        graph = self._graphs.get(batch)
        if graph is None:
            graph = self._capture(batch)
        self._graphs.move_to_end(batch)
        self._cuda.launch(graph, self._stream)
        self._cuda.synchronize(self._stream)
        return self._results(batch)

    def _results(self, batch: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        logit, stats, lcas = (self._buffers[name].array[:batch].copy() for name in ("logit", "stats", "lcas"))
        return logit, stats, lcas

    def _capture(self, batch: int) -> Any:
        """Record a CUDA graph for one batch size: copy to the GPU, execution, copy back."""
        shape = (batch, *self._buffers["images"].array.shape[1:])
        if not self._context.set_input_shape("images", shape):
            raise EngineError(f"{self.path}: TensorRT refuses a batch of {batch}")
        # the first execution of a shape initialises TensorRT lazily, which cannot be captured
        self._enqueue(batch)
        self._cuda.synchronize(self._stream)
        self._cuda.begin_capture(self._stream)
        try:
            self._enqueue(batch)
        finally:
            graph = self._cuda.end_capture(self._stream)
        self._graphs[batch] = graph
        if len(self._graphs) > MAX_GRAPHS:
            self._cuda.destroy_graph(self._graphs.popitem(last=False)[1])
        return graph

    def _enqueue(self, batch: int) -> None:
        images = self._buffers["images"]
        self._cuda.to_device(images.device, images.host, batch * images.row_bytes, self._stream)
        if not self._context.execute_async_v3(int(self._stream)):
            raise EngineError(f"{self.path}: TensorRT failed to run a batch of {batch}")
        for name in ("logit", "stats", "lcas"):
            buffer = self._buffers[name]
            self._cuda.to_host(buffer.host, buffer.device, batch * buffer.row_bytes, self._stream)

    def close(self) -> None:
        """Free graphs, buffers, context and stream. A second call does nothing."""
        with self._lock:
            if self._context is None:
                return
            for graph in self._graphs.values():
                self._cuda.destroy_graph(graph)
            self._graphs.clear()
            for buffer in self._buffers.values():
                self._cuda.free(buffer.device)
                self._cuda.free_pinned(buffer.host)
            self._buffers.clear()
            self._cuda.destroy_stream(self._stream)
            self._context = self._engine = None


def open_engine(
    path: Path, device: str, threads: int | None, trt: Any = None, cuda: Cuda | None = None
) -> TensorRtEngine:
    """Check and load a `.plan`.

    Args:
        path: the plan; its sidecar lies beside it.
        device: "auto" or "tensorrt".
        threads: ignored on a GPU.
        trt: TensorRT's module; None imports it.
        cuda: the CUDA runtime; None imports it.

    Raises:
        EngineError: the plan is damaged or built for another GPU or TensorRT; names the command that rebuilds it.
        MissingDependencyError: TensorRT, cuda-python or a GPU is missing.
        UsageError: another device.
    """
    if device not in ("auto", "tensorrt"):
        raise UsageError(f"{path}: a plan runs on TensorRT only, not on device {device!r}; use its ONNX engine there")
    sidecar = read_sidecar(path)
    check_plan(path, sidecar)
    check_source(path, sidecar)
    trt = trt or import_tensorrt()
    cuda = cuda or Cuda.load()
    gpu = cuda.device()
    notes = check_machine(path, sidecar, Machine(trt.__version__, gpu.name, gpu.capability))
    runtime = trt.Runtime(trt.Logger(trt.Logger.ERROR))
    if sidecar.version_compatible:
        runtime.engine_host_code_allowed = True  # the plan contains code that will run: trust its maker
    engine = runtime.deserialize_cuda_engine(path.read_bytes())
    if engine is None:
        raise EngineError(
            f"{path}: TensorRT {trt.__version__} cannot load it; build it again with {rebuild_command(path, sidecar)}"
        )
    return TensorRtEngine(path, sidecar, trt, cuda, engine, notes)
