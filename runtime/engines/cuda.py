"""The few calls of the CUDA runtime that the TensorRT backend needs, through cuda-python; no torch."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import EngineError, MissingDependencyError


@dataclass(frozen=True)
class Gpu:
    """name: as the driver gives it. capability: "8.9"."""

    name: str
    capability: str


class Cuda:
    """CUDA runtime calls as methods that raise. Pointers and handles are integers or cuda-python's objects."""

    def __init__(self, api: Any) -> None:
        """api: cuda-python's runtime module, or a fake with the same functions."""
        self.api = api

    @classmethod
    def load(cls) -> Cuda:
        """cuda-python's runtime, wherever its version keeps it.

        Raises:
            MissingDependencyError: not installed.
        """
        try:
            from cuda.bindings import runtime as api
        except ImportError:
            try:
                from cuda import cudart as api
            except ImportError:
                raise MissingDependencyError(
                    "cuda-python is not installed: pip install 'cinemae[tensorrt]'"
                ) from None
        return cls(api)

    def call(self, name: str, *arguments: Any) -> Any:
        """Call and return the result, or the tuple of results.

        Raises:
            MissingDependencyError: no driver or no GPU. EngineError: any other failure, out of memory among them.
        """
        status, *results = getattr(self.api, name)(*arguments)
        if int(status) != 0:
            text = str(getattr(status, "name", status))
            if any(word in text for word in ("NoDevice", "InsufficientDriver", "InitializationError")):
                raise MissingDependencyError(
                    f"no usable NVIDIA GPU ({text}): check nvidia-smi and the driver, or use --device cpu"
                )
            fix = "; use a smaller --batch-size or free GPU memory" if "MemoryAllocation" in text else ""
            raise EngineError(f"CUDA: {name} failed: {text}{fix}")
        return results[0] if len(results) == 1 else tuple(results)

    def device(self) -> Gpu:
        """The current GPU."""
        properties = self.call("cudaGetDeviceProperties", self.call("cudaGetDevice"))
        name = properties.name.decode() if isinstance(properties.name, bytes) else str(properties.name)
        return Gpu(name.rstrip("\0"), f"{properties.major}.{properties.minor}")

    def allocate(self, size: int) -> int:
        """Device memory of `size` bytes."""
        return int(self.call("cudaMalloc", size))

    def free(self, pointer: int) -> None:
        """Give device memory back."""
        self.call("cudaFree", pointer)

    def pinned(self, shape: tuple[int, ...], dtype: np.dtype) -> tuple[int, np.ndarray]:
        """Page-locked host memory -> (pointer, array over it)."""
        size = int(np.prod(shape)) * dtype.itemsize
        pointer = int(self.call("cudaMallocHost", size))
        buffer = (ctypes.c_uint8 * size).from_address(pointer)
        return pointer, np.frombuffer(memoryview(buffer), dtype).reshape(shape)

    def free_pinned(self, pointer: int) -> None:
        """Give page-locked memory back; arrays over it must be gone."""
        self.call("cudaFreeHost", pointer)

    def stream(self) -> Any:
        """A new stream that does not wait for the default one (capture demands that)."""
        return self.call("cudaStreamCreateWithFlags", self.api.cudaStreamNonBlocking)

    def synchronize(self, stream: Any) -> None:
        """Wait for everything on `stream`."""
        self.call("cudaStreamSynchronize", stream)

    def to_device(self, device: int, host: int, size: int, stream: Any) -> None:
        """Copy `size` bytes to the GPU, in order on `stream`."""
        self.call("cudaMemcpyAsync", device, host, size, self.api.cudaMemcpyKind.cudaMemcpyHostToDevice, stream)

    def to_host(self, host: int, device: int, size: int, stream: Any) -> None:
        """Copy `size` bytes back, in order on `stream`."""
        self.call("cudaMemcpyAsync", host, device, size, self.api.cudaMemcpyKind.cudaMemcpyDeviceToHost, stream)

    def begin_capture(self, stream: Any) -> None:
        """Record what is put on `stream` from here on instead of running it."""
        mode = self.api.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        self.call("cudaStreamBeginCapture", stream, mode)

    def end_capture(self, stream: Any) -> Any:
        """Stop recording -> an executable graph."""
        graph = self.call("cudaStreamEndCapture", stream)
        try:
            return self.call("cudaGraphInstantiate", graph, 0)
        finally:
            self.call("cudaGraphDestroy", graph)

    def launch(self, graph: Any, stream: Any) -> None:
        """Run an executable graph on `stream`."""
        self.call("cudaGraphLaunch", graph, stream)

    def destroy_graph(self, graph: Any) -> None:
        """Free an executable graph."""
        self.call("cudaGraphExecDestroy", graph)

    def destroy_stream(self, stream: Any) -> None:
        """Free a stream."""
        self.call("cudaStreamDestroy", stream)
