"""TensorRT backend: two batches in flight, each in page-locked buffers, one CUDA graph for each batch size.

Only calls that TensorRT 8.6, 10 and 11 share are used, or the names that each has for the same thing.
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
from ..base import Engine, EngineOutput, checked_images, joined
from ..cuda.buckets import bucket_of, buckets
from ..cuda.driver import OUT_OF_MEMORY, Cuda
from .contexts import PlanContexts
from .library import collecting_logger, import_tensorrt, is_out_of_memory, reason
from .sidecar import Machine, PlanSidecar, check_machine, check_plan, check_source, read_sidecar, rebuild_command
from .slot import INPUT, Port, Slot

PROVIDER = "TensorRT"
SLOTS = 2
"""Batches in flight: while one is computed, the next is copied to the GPU and records are made of the one before."""


def read_plan_manifest(path: Path) -> Manifest:
    """The manifest in a plan's sidecar.

    Raises:
        EngineError: the sidecar is missing or invalid.
    """
    return read_sidecar(path).manifest


class TensorRtEngine(Engine):
    """A plan on the current GPU. `infer` and `begin` may be called from several threads."""

    provider = PROVIDER

    def __init__(
        self, path: Path, sidecar: PlanSidecar, trt: Any, cuda: Cuda, engine: Any, logger: Any, notes: tuple[str, ...]
    ) -> None:
        self.path, self.manifest, self.notes = path, sidecar.manifest, notes
        self._buckets = buckets(sidecar.batch[0], sidecar.batch[2])
        ports = _ports(path, self.manifest, trt, engine)
        self._lock = threading.Lock()
        self._free: queue.LifoQueue[Slot | None] = queue.LifoQueue()
        self._slots: list[Slot] = []
        self._closed = False
        self._contexts = PlanContexts(path, trt, cuda, engine, logger)
        try:
            for index in range(SLOTS):
                self._slots.append(Slot(cuda, index, ports, self._buckets[-1]))
                self._free.put(self._slots[-1])
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
                try:
                    slot.queue_input(images)
                    self._contexts.queue(slot, bucket_of(len(images), self._buckets))
                    slot.queue_outputs(len(images))
                except BaseException:
                    slot.drain()
                    raise
        except BaseException:
            self._free.put(slot)
            raise
        return lambda: self._take(slot, len(images))

    def _take(self, slot: Slot, batch: int) -> EngineOutput:
        """Wait for a slot's outputs and make the slot free again."""
        try:
            with self._lock:
                if self._closed:
                    raise self._is_closed()
            slot.synchronize()
            with self._lock:
                if self._closed:
                    raise self._is_closed()
                return slot.output(batch)
        finally:
            self._free.put(slot)

    def infer(self, images: np.ndarray) -> EngineOutput:
        """Score a batch. A batch larger than the plan's profile allows is split.

        Args:
            images: uint8 [B, S, S, 3], RGB.

        Raises:
            EngineError: the engine is closed, or TensorRT or CUDA fails.
            UsageError: another dtype or shape.
        """
        images = checked_images(images, self.manifest)
        if not len(images):
            n_patches = self.manifest.backbone.config.n_patches
            return EngineOutput(*(np.zeros((0, *shape), np.float32) for shape in ((), (3,), (n_patches,))))
        largest = self._buckets[-1]
        return joined([self.begin(list(images[start : start + largest]))() for start in range(0, len(images), largest)])

    def _is_closed(self) -> EngineError:
        return EngineError(f"{self.path}: the engine is closed")

    def close(self) -> None:
        """Free graphs, buffers, contexts and streams; batches in flight are lost. A second call does nothing."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            self._contexts.drain()
            for slot in self._slots:
                slot.close()
            self._contexts.close()
        self._free.put(None)  # whoever waits for a slot learns that there will be none


def _ports(path: Path, manifest: Manifest, trt: Any, engine: Any) -> list[Port]:
    """Names, shapes without batch and dtypes of the plan's tensors, after checking that the plan has them."""
    size, n_patches = manifest.preprocess.crop, manifest.backbone.config.n_patches
    wanted = [
        Port(INPUT, (size, size, 3), np.dtype(np.uint8)), Port("logit", (), np.dtype(np.float32)),
        Port("stats", (3,), np.dtype(np.float32)), Port("lcas", (n_patches,), np.dtype(np.float32)),
    ]
    names = [engine.get_tensor_name(i) for i in range(engine.num_io_tensors)]
    if sorted(names) != sorted(port.name for port in wanted):
        raise EngineError(f"{path}: its tensors are {names}; not an engine of this project")
    for port in wanted:
        actual = tuple(engine.get_tensor_shape(port.name))[1:]
        actual_type = np.dtype(trt.nptype(engine.get_tensor_dtype(port.name)))
        is_input = engine.get_tensor_mode(port.name) == trt.TensorIOMode.INPUT
        if actual != port.shape or actual_type != port.dtype or is_input != (port.name == INPUT):
            raise EngineError(
                f"{path}: tensor {port.name!r} is {actual_type} {actual}, expected {port.shape}; build it again"
            )
    return wanted


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
    logger = collecting_logger(trt)
    runtime = trt.Runtime(logger)
    if sidecar.version_compatible:
        runtime.engine_host_code_allowed = True  # the plan contains code that will run: trust its maker
    engine = runtime.deserialize_cuda_engine(path.read_bytes())
    if engine is None:
        words = reason(logger)
        fix = OUT_OF_MEMORY if is_out_of_memory(words) else f"build it again with {rebuild_command(path, sidecar)}"
        raise EngineError(f"{path}: TensorRT {trt.__version__} cannot load it: {words}; {fix}")
    return TensorRtEngine(path, sidecar, trt, cuda, engine, logger, notes)
