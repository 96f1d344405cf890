"""TensorRT backend: two batches in flight, each in page-locked buffers, one CUDA graph for each batch size.

Only calls that TensorRT 10.1 to 11 share are used; `tensorrt_8` has those of 8.6.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ...core.errors import EngineError, UsageError
from ...core.manifest import Manifest
from ..base import Engine, EngineOutput, checked_images, joined, no_output, output_shapes
from ..cuda.buckets import bucket_of, buckets
from ..cuda.driver import OUT_OF_MEMORY, Cuda
from .library import collecting_logger, import_tensorrt, is_out_of_memory, reason
from .session import INPUT, PlanSession, Slot
from .sidecar import PlanSidecar, check_machine, check_plan, check_source, read_sidecar, rebuild_command

SLOTS = 2
"""Batches in flight: while one is computed, the next is copied to the GPU and records are made of the one before."""


class TensorRtEngine(Engine):
    """A plan on the current GPU. `infer` and `begin` may be called from several threads."""

    provider = "TensorRT"

    def __init__(
        self, path: Path, sidecar: PlanSidecar, session: PlanSession, ports: dict[str, np.dtype], notes: tuple[str, ...]
    ) -> None:
        self.path, self.manifest, self.notes = path, sidecar.manifest, notes
        self._buckets = buckets(sidecar.batch[0], sidecar.batch[2])
        self._lock = threading.Lock()
        self._free: queue.LifoQueue[Slot | None] = queue.LifoQueue()
        self._closed = False
        self._session = session
        try:
            for _ in range(SLOTS):
                self._free.put(session.add_slot(ports, self._buckets[-1]))
        except BaseException:
            self.close()
            raise

    def begin(self, images: Sequence[np.ndarray]) -> Callable[[], EngineOutput]:
        """See `Engine.begin`: two batches may be in flight. A batch larger than the plan's is split and finished."""
        if len(images) > self._buckets[-1]:
            output = self.infer(np.stack(images))
            return lambda: output
        slot = self._free.get()
        if slot is None:
            self._free.put(None)
            raise self._is_closed()
        try:
            with self._lock:
                if self._closed:
                    raise self._is_closed()
                self._session.queue(slot, images, bucket_of(len(images), self._buckets))
        except BaseException:
            self._free.put(slot)
            raise
        return lambda: self._take(slot)

    def _take(self, slot: Slot) -> EngineOutput:
        """Wait for a slot's outputs and make the slot free again."""
        try:
            return slot.take()
        finally:
            self._free.put(slot)

    def infer(self, images: np.ndarray) -> EngineOutput:
        """See `Engine.infer`. A batch larger than the plan's is split."""
        images = checked_images(images, self.manifest)
        largest = self._buckets[-1]
        chunks = [list(images[start : start + largest]) for start in range(0, len(images), largest)]
        return joined([self.begin(chunk)() for chunk in chunks]) if chunks else no_output(self.manifest)

    def _is_closed(self) -> EngineError:
        return EngineError(f"{self.path}: the engine is closed")

    def close(self) -> None:
        """Free graphs, buffers, contexts and streams, after the batches in flight. A second call does nothing."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            self._session.close()
        self._free.put(None)  # whoever waits for a slot learns that there will be none


def _ports(path: Path, manifest: Manifest, trt: Any, engine: Any) -> dict[str, np.dtype]:
    """The type of one image's row of each tensor, after checking that the plan has these tensors."""
    size = manifest.preprocess.crop
    rows = {INPUT: np.dtype((np.uint8, (size, size, 3)))}
    rows |= {name: np.dtype((np.float32, shape)) for name, shape in output_shapes(manifest).items()}
    names = [engine.get_tensor_name(i) for i in range(engine.num_io_tensors)]
    if sorted(names) != sorted(rows):
        raise EngineError(f"{path}: its tensors are {names}; not an engine of this project")
    for name, row in rows.items():
        actual = tuple(engine.get_tensor_shape(name))[1:]
        kind = np.dtype(trt.nptype(engine.get_tensor_dtype(name)))
        is_input = engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT
        if (actual, kind, is_input) != (row.shape, row.base, name == INPUT):
            raise EngineError(f"{path}: tensor {name!r} is {kind} {actual}, expected {row.shape}; build it again")
    return rows


def open_engine(
    path: Path, device: str, threads: int | None, trt: Any = None, cuda: Cuda | None = None
) -> TensorRtEngine:
    """Check and load a `.plan` with its sidecar, as `load.load_engine`; `threads` means nothing on a GPU.

    Args:
        path: the plan.
        device: "auto" or "tensorrt".
        threads: not used.
        trt: TensorRT's module; None imports it.
        cuda: the CUDA runtime; None imports it.
    """
    if device not in ("auto", "tensorrt"):
        raise UsageError(f"{path}: a plan runs on TensorRT only, not on device {device!r}; use its ONNX engine there")
    sidecar = read_sidecar(path)
    check_plan(path, sidecar)
    check_source(path, sidecar)
    trt = trt or import_tensorrt()
    cuda = cuda or Cuda.load()
    gpu = cuda.device()
    notes = check_machine(path, sidecar, trt.__version__, gpu)
    logger = collecting_logger(trt)
    runtime = trt.Runtime(logger)
    if sidecar.version_compatible:
        runtime.engine_host_code_allowed = True  # the plan contains code that will run: trust its maker
    engine = runtime.deserialize_cuda_engine(path.read_bytes())
    if engine is None:
        words = reason(logger)
        fix = OUT_OF_MEMORY if is_out_of_memory(words) else f"build it again with {rebuild_command(path, sidecar)}"
        raise EngineError(f"{path}: TensorRT {trt.__version__} cannot load it: {words}; {fix}")
    ports = _ports(path, sidecar.manifest, trt, engine)
    return TensorRtEngine(path, sidecar, PlanSession(path, trt, cuda, engine, logger), ports, notes)
