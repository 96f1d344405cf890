"""A plan's work on the GPU: slots for the batches in flight, and an execution context with a CUDA graph for each shape.

A context whose input shape changes invalidates the graphs that were captured from it, without a word; so a context
keeps its shape for life, as in trtexec. All contexts compute on one stream, one after another, and therefore may share
their scratch memory (`IExecutionContext::setDeviceMemory`: not to be used by another context running in parallel).
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ...core.errors import CinemaeError, EngineError
from ..base import OUTPUTS, EngineOutput
from ..cuda.driver import OUT_OF_MEMORY, Cuda
from . import tensorrt_8
from .library import is_out_of_memory, reason

INPUT = "images"

_log = logging.getLogger(__name__)


class Slot:
    """The place of one batch in flight.

    Attributes:
        device: tensor -> pointer to device memory for the largest batch.
        host: tensor -> page-locked array, [largest batch, ...].
        contexts: batch size -> execution context and CUDA graph; None where capture failed and it is enqueued instead.
        stream: of the copies.
        ready: the event after the copy to the device.
        computed: the event after the computation.
        done: the event after the copies to the host.
        batch: images in flight here; 0 where there are none.
        lock: held while `done` is waited for or destroyed.
    """

    def __init__(self, cuda: Cuda, rows: Mapping[str, np.dtype], largest: int) -> None:
        self.device: dict[str, int] = {}
        self.host: dict[str, np.ndarray] = {}
        self.contexts: dict[int, tuple[Any, Any]] = {}
        self.batch, self.lock = 0, threading.Lock()
        self._result: EngineOutput | CinemaeError | None = None
        self._cuda = cuda
        self._events: list[Any] = []
        self.stream = cuda.stream()
        try:
            for _ in range(3):
                self._events.append(cuda.event())
            self.ready, self.computed, self.done = self._events
            for name, row in rows.items():
                self.device[name] = cuda.allocate(row.itemsize * largest)
                self.host[name] = cuda.pinned((largest, *row.shape), row.base)
        except BaseException:
            self.close()
            raise

    def settle(self) -> None:
        """Wait for the batch in flight, if any, and keep its outputs, or what failed, for `take`."""
        with self.lock:
            if self.batch:
                batch, self.batch = self.batch, 0
                try:
                    self._cuda.call("cudaEventSynchronize", self.done)
                    self._result = EngineOutput(*(self.host[name][:batch].copy() for name in OUTPUTS))
                except CinemaeError as error:
                    self._result = error

    def take(self) -> EngineOutput:
        """The outputs of the batch that was queued here, waited for if need be; also after `close`.

        Raises:
            EngineError: the batch failed on the GPU.
        """
        self.settle()
        result, self._result = self._result, None
        if not isinstance(result, EngineOutput):
            raise result or EngineError("the outputs of a batch can be taken once")
        return result

    def close(self) -> None:
        """Free everything but the contexts."""
        self._cuda.release("cudaStreamSynchronize", self.stream)
        for pointer in self.device.values():
            self._cuda.release("cudaFree", pointer)
        for array in self.host.values():
            self._cuda.free_pinned(array)
        self.device, self.host = {}, {}
        while self._events:
            self._cuda.release("cudaEventDestroy", self._events.pop())
        self._cuda.release("cudaStreamDestroy", self.stream)


class PlanSession:
    """Computes the batches of a plan; one method runs at a time.

    Attributes:
        slots: places of the batches in flight, made by `add_slot`.
        capture_error: why CUDA graphs are not used; None while they are.
    """

    def __init__(self, path: Path, trt: Any, cuda: Cuda, engine: Any, logger: Any) -> None:
        self.slots: list[Slot] = []
        self.capture_error: str | None = None
        self._path, self._trt, self._cuda, self._engine, self._logger = path, trt, cuda, engine, logger
        self._scratch = self._scratch_bytes = 0
        shapes = (engine.get_tensor_profile_shape(INPUT, i) for i in range(engine.num_optimization_profiles))
        self._profiles = [(int(smallest[0]), int(largest[0])) for smallest, _, largest in shapes]
        self._stream = cuda.stream()

    def add_slot(self, rows: Mapping[str, np.dtype], largest: int) -> Slot:
        """One more place for a batch of up to `largest` images; `rows` names the type of a row of each tensor."""
        self.slots.append(Slot(self._cuda, rows, largest))
        return self.slots[-1]

    def queue(self, slot: Slot, images: Sequence[np.ndarray], bucket: int) -> None:
        """Copy images, each uint8 [S, S, 3], to the slot, and queue their computation, padded to `bucket` images.

        Raises:
            EngineError: TensorRT or CUDA fails; gives TensorRT's reason. Nothing uses the slot then.
        """
        cuda, batch = self._cuda, len(images)
        try:
            np.stack(images, out=slot.host[INPUT][:batch])
            cuda.to_device(slot.device[INPUT], slot.host[INPUT][:batch], slot.stream)
            cuda.call("cudaEventRecord", slot.ready, slot.stream)
            cuda.call("cudaStreamWaitEvent", self._stream, slot.ready, 0)
            context, graph = slot.contexts.get(bucket, (None, None))
            if context is None:
                slot.contexts[bucket] = self._first_run(slot, bucket)
            elif graph is None:
                self._enqueue(context, bucket)
            else:
                cuda.call("cudaGraphLaunch", graph, self._stream)
            cuda.call("cudaEventRecord", slot.computed, self._stream)
            cuda.call("cudaStreamWaitEvent", slot.stream, slot.computed, 0)
            for name in OUTPUTS:
                cuda.to_host(slot.host[name][:batch], slot.device[name], slot.stream)
            cuda.call("cudaEventRecord", slot.done, slot.stream)
            slot.batch = batch
        except BaseException:
            for stream in (self._stream, slot.stream):
                cuda.release("cudaStreamSynchronize", stream)
            raise

    def _first_run(self, slot: Slot, bucket: int) -> tuple[Any, Any]:
        """Make the context, compute once, which initialises TensorRT and cannot be captured, and capture its graph."""
        context = tensorrt_8.create_context(self._trt, self._engine)
        if context is None:
            raise self._failure("make an execution context")
        try:
            context.set_optimization_profile_async(self._profile(bucket), int(self._stream))
        except RuntimeError as error:
            raise self._failure(f"set the profile of batch {bucket}", error) from None
        if not context.set_input_shape(INPUT, (bucket, *slot.host[INPUT].shape[1:])):
            raise self._failure(f"take a batch of {bucket}")
        for name, pointer in slot.device.items():
            if not context.set_tensor_address(name, pointer):
                raise self._failure(f"use the buffer of {name!r}")
        self._give_scratch(context)
        self._enqueue(context, bucket)
        self._cuda.call("cudaStreamSynchronize", self._stream)
        if self.capture_error is None:
            try:
                return context, self._cuda.capture(self._stream, lambda: self._enqueue(context, bucket))
            except EngineError as error:
                self.capture_error = str(error)
                _log.warning("without CUDA graphs, which cost a little speed: %s", error)
        return context, None

    def _profile(self, bucket: int) -> int:
        """The narrowest optimisation profile that admits a batch: it was tuned nearest to it."""
        fitting = [i for i, (smallest, largest) in enumerate(self._profiles) if smallest <= bucket <= largest]
        if not fitting:
            raise EngineError(f"{self._path}: no profile of the plan admits a batch of {bucket}; build it again")
        return min(fitting, key=lambda i: self._profiles[i][1])

    def _give_scratch(self, context: Any) -> None:
        """Point a context to the shared scratch memory, which grows with the largest batch that is really used."""
        size = tensorrt_8.scratch_bytes(self._trt, self._engine, context)
        if size is None:
            raise self._failure("size its scratch memory")
        if size > self._scratch_bytes:
            self._release()
            self._scratch = self._cuda.allocate(size)
            self._scratch_bytes = size
        tensorrt_8.set_scratch(self._trt, context, self._scratch, self._scratch_bytes)

    def _enqueue(self, context: Any, bucket: int) -> None:
        if not context.execute_async_v3(int(self._stream)):
            raise self._failure(f"run a batch of {bucket}")

    def _failure(self, what: str, error: Exception | None = None) -> EngineError:
        words = reason(self._logger, error)
        fix = OUT_OF_MEMORY if is_out_of_memory(words) else "build the plan again, or use its ONNX engine"
        return EngineError(f"{self._path}: TensorRT cannot {what}: {words}; {fix}")

    def _release(self) -> None:
        """Free all graphs, contexts and the scratch memory, which graphs hold the address of."""
        self._cuda.release("cudaStreamSynchronize", self._stream)
        for slot in self.slots:
            for _, graph in slot.contexts.values():
                if graph is not None:
                    self._cuda.release("cudaGraphExecDestroy", graph)
            slot.contexts.clear()
        if self._scratch_bytes:
            self._cuda.release("cudaFree", self._scratch)
        self._scratch = self._scratch_bytes = 0

    def close(self) -> None:
        """Free everything, after the batches in flight, whose outputs can still be taken."""
        for slot in self.slots:
            slot.settle()
        self._release()
        for slot in self.slots:
            slot.close()
        self._cuda.release("cudaStreamDestroy", self._stream)
        self._engine = None
