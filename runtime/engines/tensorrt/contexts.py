"""Execution contexts of a plan: one for each slot and batch size, with a CUDA graph each and one scratch memory.

A context whose input shape changes invalidates the graphs that were captured from it, without a word; so a context
keeps its shape for life, as in trtexec. All contexts compute on one stream, one after another, and therefore may share
their scratch memory (`IExecutionContext::setDeviceMemory`: not to be used by another context running in parallel).
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...core.errors import EngineError
from ..cuda.driver import OUT_OF_MEMORY, Cuda
from .library import is_out_of_memory, reason
from .slot import INPUT, Slot

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Context:
    """An execution context of one shape.

    Attributes:
        context: TensorRT's.
        graph: its CUDA graph; None where capture failed, and the context is enqueued instead.
    """

    context: Any
    graph: Any


class PlanContexts:
    """Computes batches of a plan; not safe to call from several threads.

    Attributes:
        capture_error: why CUDA graphs are not used; None while they are.
    """

    def __init__(self, path: Path, trt: Any, cuda: Cuda, engine: Any, logger: Any) -> None:
        self.capture_error: str | None = None
        self._path, self._trt, self._cuda, self._engine, self._logger = path, trt, cuda, engine, logger
        self._contexts: dict[tuple[int, int], Context] = {}
        self._scratch = self._scratch_bytes = 0
        shapes = (engine.get_tensor_profile_shape(INPUT, i) for i in range(engine.num_optimization_profiles))
        self._profiles = [(int(smallest[0]), int(largest[0])) for smallest, _, largest in shapes]
        self._stream = cuda.stream()

    def queue(self, slot: Slot, bucket: int) -> None:
        """Queue the computation of `bucket` rows of a slot, after its `ready` and before its `computed` event.

        Raises:
            EngineError: TensorRT or CUDA fails; gives TensorRT's reason.
        """
        self._cuda.wait(self._stream, slot.ready)
        made = self._contexts.get((slot.index, bucket))
        if made is None:
            self._contexts[slot.index, bucket] = self._first_run(slot, bucket)
        elif made.graph is None:
            self._enqueue(made.context, bucket)
        else:
            self._cuda.launch(made.graph, self._stream)
        self._cuda.record(slot.computed, self._stream)

    def _first_run(self, slot: Slot, bucket: int) -> Context:
        """Make the context, compute once, which initialises TensorRT and cannot be captured, and capture its graph."""
        context = self._create()
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
        if self.capture_error is not None:
            return Context(context, None)
        try:
            return Context(context, self._cuda.capture(self._stream, lambda: self._enqueue(context, bucket)))
        except EngineError as error:
            self.capture_error = str(error)
            _log.warning("without CUDA graphs, which cost a little speed: %s", error)
            return Context(context, None)

    def _create(self) -> Any:
        """A context without memory of its own: TensorRT 8.6 has a method for it, 10 and 11 a strategy."""
        strategy = getattr(self._trt, "ExecutionContextAllocationStrategy", None)
        if strategy is None:
            context = self._engine.create_execution_context_without_device_memory()
        else:
            context = self._engine.create_execution_context(strategy.USER_MANAGED)
        if context is None:
            raise self._failure("make an execution context")
        return context

    def _profile(self, bucket: int) -> int:
        """The narrowest optimisation profile that admits a batch: it was tuned nearest to it."""
        fitting = [i for i, (smallest, largest) in enumerate(self._profiles) if smallest <= bucket <= largest]
        if not fitting:
            raise EngineError(f"{self._path}: no profile of the plan admits a batch of {bucket}; build it again")
        return min(fitting, key=lambda i: self._profiles[i][1])

    def _give_scratch(self, context: Any) -> None:
        """Point a context to the shared scratch memory, which grows with the largest batch that is really used."""
        if hasattr(context, "update_device_memory_size_for_shapes"):  # from TensorRT 10 on
            size = int(context.update_device_memory_size_for_shapes())
        else:
            size = int(self._engine.device_memory_size)
        if size > self._scratch_bytes:
            self._release()
            self._scratch = self._cuda.allocate(size)
            self._scratch_bytes = size
        if hasattr(context, "set_device_memory"):  # from TensorRT 10.1 on
            context.set_device_memory(self._scratch, self._scratch_bytes)
        else:
            context.device_memory = self._scratch

    def _enqueue(self, context: Any, bucket: int) -> None:
        if not context.execute_async_v3(int(self._stream)):
            raise self._failure(f"run a batch of {bucket}")

    def _failure(self, what: str, error: Exception | None = None) -> EngineError:
        words = reason(self._logger, error)
        fix = OUT_OF_MEMORY if is_out_of_memory(words) else "build the plan again, or use its ONNX engine"
        return EngineError(f"{self._path}: TensorRT cannot {what}: {words}; {fix}")

    def drain(self) -> None:
        """Wait until nothing is computed."""
        self._cuda.synchronize(self._stream)

    def _release(self) -> None:
        """Free all graphs, contexts and the scratch memory, which graphs hold the address of."""
        self._cuda.synchronize(self._stream)
        for made in self._contexts.values():
            if made.graph is not None:
                self._cuda.destroy_graph(made.graph)
        self._contexts.clear()
        if self._scratch_bytes:
            self._cuda.free(self._scratch)
        self._scratch = self._scratch_bytes = 0

    def close(self) -> None:
        """Free everything."""
        self._release()
        self._cuda.destroy_stream(self._stream)
        self._engine = None
