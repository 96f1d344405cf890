"""A place for one batch in flight: page-locked and device buffers, a stream for the copies, and events."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...core.errors import CinemaeError
from ..base import EngineOutput
from ..cuda.driver import Cuda

INPUT = "images"


@dataclass(frozen=True)
class Port:
    """One input or output of a plan.

    Attributes:
        name: of the tensor.
        shape: without the batch.
        dtype: of its values.
    """

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype


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


class Slot:
    """Buffers, copy stream and events of one batch in flight.

    Attributes:
        index: its number.
        buffers: by the tensor's name.
        ready: the event after the copy to the device.
        computed: the event after the computation, recorded on the stream that computes.
    """

    def __init__(self, cuda: Cuda, index: int, ports: Sequence[Port], largest: int) -> None:
        self.index = index
        self.buffers: dict[str, Buffer] = {}
        self._cuda = cuda
        self._events: list[Any] = []
        self._stream = cuda.stream()
        try:
            for _ in range(3):
                self._events.append(cuda.event())
            self.ready, self.computed, self._done = self._events
            for port in ports:
                self.buffers[port.name] = self._buffer(port, largest)
        except BaseException:
            self.close()
            raise

    def _buffer(self, port: Port, largest: int) -> Buffer:
        row_bytes = int(np.prod(port.shape, dtype=np.int64)) * port.dtype.itemsize
        device = self._cuda.allocate(row_bytes * largest)
        try:
            host, array = self._cuda.pinned((largest, *port.shape), port.dtype)
        except BaseException:
            self._cuda.free(device)
            raise
        return Buffer(row_bytes, device, host, array)

    def queue_input(self, images: Sequence[np.ndarray]) -> None:
        """Copy images, each uint8 [S, S, 3], to the page-locked buffer, and queue their copy to the device."""
        buffer = self.buffers[INPUT]
        np.stack(images, out=buffer.array[: len(images)])
        self._cuda.to_device(buffer.device, buffer.host, len(images) * buffer.row_bytes, self._stream)
        self._cuda.record(self.ready, self._stream)

    def queue_outputs(self, batch: int) -> None:
        """Queue the copies of the outputs to the host, after the computation."""
        self._cuda.wait(self._stream, self.computed)
        for name, buffer in self.buffers.items():
            if name != INPUT:
                self._cuda.to_host(buffer.host, buffer.device, batch * buffer.row_bytes, self._stream)
        self._cuda.record(self._done, self._stream)

    def synchronize(self) -> None:
        """Wait until the outputs are on the host."""
        self._cuda.synchronize_event(self._done)

    def output(self, batch: int) -> EngineOutput:
        """Copies of the first `batch` rows of the outputs."""
        return EngineOutput(*(self.buffers[name].array[:batch].copy() for name in ("logit", "stats", "lcas")))

    def drain(self) -> None:
        """Wait until nothing uses the buffers, whatever has failed before."""
        with suppress(CinemaeError):
            self._cuda.synchronize(self._stream)

    def close(self) -> None:
        """Free everything."""
        self.drain()
        for buffer in self.buffers.values():
            self._cuda.free(buffer.device)
            self._cuda.free_pinned(buffer.host)
        self.buffers.clear()
        for event in self._events:
            self._cuda.destroy_event(event)
        self._events.clear()
        self._cuda.destroy_stream(self._stream)
