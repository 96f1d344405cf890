"""A plan's work on the GPU: slots for the batches in flight, and an execution context with a CUDA graph for each shape.

A context whose input shape changes invalidates the graphs that were captured from it, without a word; so a context
keeps its shape for life, as in trtexec. All contexts compute on one stream, one after another, and therefore may share
their scratch memory (`IExecutionContext::setDeviceMemory`: not to be used by another context running in parallel).
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
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


@dataclass(frozen=True)
class Context:
    """An execution context of one shape.

    Attributes:
        context: TensorRT's.
        graph: its CUDA graph; None where capture failed, and the context is enqueued instead.
    """

    context: Any
    graph: Any


class Slot:
    """The place of one batch in flight: page-locked and device buffers, a stream for the copies, and events.

    Attributes:
        buffers: by the tensor's name.
        contexts: by the batch size.
        ready: the event after the copy to the device.
        computed: the event after the computation, recorded on the stream that computes.
    """

    def __init__(self, cuda: Cuda, ports: Mapping[str, np.dtype], largest: int) -> None:
        self.buffers: dict[str, Buffer] = {}
        self.contexts: dict[int, Context] = {}
        self._cuda = cuda
        self._events: list[Any] = []
        self._stream = cuda.stream()
        try:
            for _ in range(3):
                self._events.append(cuda.event())
            self.ready, self.computed, self._done = self._events
            for name, row in ports.items():
                self.buffers[name] = self._buffer(row, largest)
        except BaseException:
            self.close()
            raise

    def _buffer(self, row: np.dtype, largest: int) -> Buffer:
        device = self._cuda.allocate(row.itemsize * largest)
        try:
            host, array = self._cuda.pinned((largest, *row.shape), row.base)
        except BaseException:
            self._cuda.free(device)
            raise
        return Buffer(row.itemsize, device, host, array)

    def queue_input(self, images: Sequence[np.ndarray]) -> None:
        """Copy images, each uint8 [S, S, 3], to the page-locked buffer, and queue their copy to the device."""
        buffer = self.buffers[INPUT]
        np.stack(images, out=buffer.array[: len(images)])
        self._cuda.to_device(buffer.device, buffer.host, len(images) * buffer.row_bytes, self._stream)
        self._cuda.record(self.ready, self._stream)

    def queue_outputs(self, batch: int) -> None:
        """Queue the copies of the outputs to the host, after the computation."""
        self._cuda.wait(self._stream, self.computed)
        for name in OUTPUTS:
            buffer = self.buffers[name]
            self._cuda.to_host(buffer.host, buffer.device, batch * buffer.row_bytes, self._stream)
        self._cuda.record(self._done, self._stream)

    def synchronize(self) -> None:
        """Wait until the outputs are on the host."""
        self._cuda.synchronize_event(self._done)

    def output(self, batch: int) -> EngineOutput:
        """Copies of the first `batch` rows of the outputs."""
        return EngineOutput(*(self.buffers[name].array[:batch].copy() for name in OUTPUTS))

    def drain(self) -> None:
        """Wait until nothing uses the buffers, whatever has failed before."""
        with suppress(CinemaeError):
            self._cuda.synchronize(self._stream)

    def close(self) -> None:
        """Free everything but the contexts."""
        self.drain()
        for buffer in self.buffers.values():
            self._cuda.free(buffer.device)
            self._cuda.free_pinned(buffer.host)
        self.buffers.clear()
        while self._events:
            self._cuda.destroy_event(self._events.pop())
        self._cuda.destroy_stream(self._stream)


class PlanSession:
    """Computes the batches of a plan; not safe to call from several threads.

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

    def add_slot(self, ports: Mapping[str, np.dtype], largest: int) -> Slot:
        """One more place for a batch of up to `largest` images; `ports` names the type of a row of each tensor."""
        self.slots.append(Slot(self._cuda, ports, largest))
        return self.slots[-1]

    def queue(self, slot: Slot, images: Sequence[np.ndarray], bucket: int) -> None:
        """Queue the copies and the computation of a batch, padded to `bucket` images.

        Raises:
            EngineError: TensorRT or CUDA fails; gives TensorRT's reason. Nothing uses the slot then.
        """
        try:
            slot.queue_input(images)
            self._cuda.wait(self._stream, slot.ready)
            made = slot.contexts.get(bucket)
            if made is None:
                slot.contexts[bucket] = self._first_run(slot, bucket)
            elif made.graph is None:
                self._enqueue(made.context, bucket)
            else:
                self._cuda.launch(made.graph, self._stream)
            self._cuda.record(slot.computed, self._stream)
            slot.queue_outputs(len(images))
        except BaseException:
            slot.drain()
            raise

    def _first_run(self, slot: Slot, bucket: int) -> Context:
        """Make the context, compute once, which initialises TensorRT and cannot be captured, and capture its graph."""
        context = tensorrt_8.create_context(self._trt, self._engine)
        if context is None:
            raise self._failure("make an execution context")
        try:
            context.set_optimization_profile_async(self._profile(bucket), int(self._stream))
        except RuntimeError as error:
            raise self._failure(f"set the profile of batch {bucket}", error) from None
        if not context.set_input_shape(INPUT, (bucket, *slot.buffers[INPUT].array.shape[1:])):
            raise self._failure(f"take a batch of {bucket}")
        for name, buffer in slot.buffers.items():
            if not context.set_tensor_address(name, buffer.device):
                raise self._failure(f"use the buffer of {name!r}")
        self._give_scratch(context)
        self._enqueue(context, bucket)
        self._cuda.synchronize(self._stream)
        if self.capture_error is None:
            try:
                return Context(context, self._cuda.capture(self._stream, lambda: self._enqueue(context, bucket)))
            except EngineError as error:
                self.capture_error = str(error)
                _log.warning("without CUDA graphs, which cost a little speed: %s", error)
        return Context(context, None)

    def _profile(self, bucket: int) -> int:
        """The narrowest optimisation profile that admits a batch: it was tuned nearest to it."""
        fitting = [i for i, (smallest, largest) in enumerate(self._profiles) if smallest <= bucket <= largest]
        if not fitting:
            raise EngineError(f"{self._path}: no profile of the plan admits a batch of {bucket}; build it again")
        return min(fitting, key=lambda i: self._profiles[i][1])

    def _give_scratch(self, context: Any) -> None:
        """Point a context to the shared scratch memory, which grows with the largest batch that is really used."""
        size = tensorrt_8.scratch_bytes(self._engine, context)
        if size > self._scratch_bytes:
            self._release()
            self._scratch = self._cuda.allocate(size)
            self._scratch_bytes = size
        tensorrt_8.set_scratch(context, self._scratch, self._scratch_bytes)

    def _enqueue(self, context: Any, bucket: int) -> None:
        if not context.execute_async_v3(int(self._stream)):
            raise self._failure(f"run a batch of {bucket}")

    def _failure(self, what: str, error: Exception | None = None) -> EngineError:
        words = reason(self._logger, error)
        fix = OUT_OF_MEMORY if is_out_of_memory(words) else "build the plan again, or use its ONNX engine"
        return EngineError(f"{self._path}: TensorRT cannot {what}: {words}; {fix}")

    def _release(self) -> None:
        """Free all graphs, contexts and the scratch memory, which graphs hold the address of."""
        self._cuda.synchronize(self._stream)
        for slot in self.slots:
            for made in slot.contexts.values():
                if made.graph is not None:
                    self._cuda.destroy_graph(made.graph)
            slot.contexts.clear()
        if self._scratch_bytes:
            self._cuda.free(self._scratch)
        self._scratch = self._scratch_bytes = 0

    def close(self) -> None:
        """Free everything; batches in flight are lost."""
        self._cuda.synchronize(self._stream)
        for slot in self.slots:
            slot.close()
        self._release()
        self._cuda.destroy_stream(self._stream)
        self._engine = None
