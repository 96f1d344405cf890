"""The CUDA runtime calls that the TensorRT backend uses, through cuda-python, without torch."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import EngineError, MissingDependencyError
from ..install import pip_install


@dataclass(frozen=True)
class CudaDevice:
    """The GPU in use.

    Attributes:
        name: as the driver gives it.
        capability: compute capability, for example "8.9".
    """

    name: str
    capability: str


class Cuda:
    """CUDA runtime calls that raise on failure. Pointers are integers, streams and graphs are cuda-python's handles."""

    def __init__(self, api: Any) -> None:
        """Wrap a CUDA runtime.

        Args:
            api: cuda-python's runtime module, or an object with the same functions.
        """
        self.api = api

    @classmethod
    def load(cls) -> Cuda:
        """Import cuda-python's runtime module (`cuda.bindings.runtime`, in older versions `cuda.cudart`).

        Raises:
            MissingDependencyError: cuda-python is not installed.
        """
        try:
            from cuda.bindings import runtime as api
        except ImportError:
            try:
                from cuda import cudart as api
            except ImportError:
                raise MissingDependencyError(f"cuda-python is not installed: {pip_install('tensorrt')}") from None
        return cls(api)

    def call(self, name: str, *arguments: Any) -> Any:
        """Call one function of the CUDA runtime and check its status.

        Args:
            name: the function, for example "cudaMalloc".
            *arguments: passed on.

        Returns:
            The result without the status; a tuple where there are several.

        Raises:
            MissingDependencyError: there is no driver or no GPU.
            EngineError: any other failure, including out of memory.
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

    def device(self) -> CudaDevice:
        """Name and compute capability of the current GPU."""
        properties = self.call("cudaGetDeviceProperties", self.call("cudaGetDevice"))
        name = properties.name.decode() if isinstance(properties.name, bytes) else str(properties.name)
        return CudaDevice(name.rstrip("\0"), f"{properties.major}.{properties.minor}")

    def allocate(self, size: int) -> int:
        """Allocate `size` bytes of device memory and return the pointer."""
        return int(self.call("cudaMalloc", size))

    def free(self, pointer: int) -> None:
        """Free device memory."""
        self.call("cudaFree", pointer)

    def pinned(self, shape: tuple[int, ...], dtype: np.dtype) -> tuple[int, np.ndarray]:
        """Allocate page-locked host memory.

        Returns:
            The pointer, and an array of `shape` and `dtype` over the same memory.
        """
        size = int(np.prod(shape)) * dtype.itemsize
        pointer = int(self.call("cudaMallocHost", size))
        buffer = (ctypes.c_uint8 * size).from_address(pointer)
        return pointer, np.frombuffer(memoryview(buffer), dtype).reshape(shape)

    def free_pinned(self, pointer: int) -> None:
        """Free page-locked memory. Arrays over it must not be used afterwards."""
        self.call("cudaFreeHost", pointer)

    def stream(self) -> Any:
        """Create a stream that does not synchronise with the default stream, as graph capture requires."""
        return self.call("cudaStreamCreateWithFlags", self.api.cudaStreamNonBlocking)

    def synchronize(self, stream: Any) -> None:
        """Wait until all work on `stream` has finished."""
        self.call("cudaStreamSynchronize", stream)

    def to_device(self, device: int, host: int, size: int, stream: Any) -> None:
        """Queue a copy of `size` bytes from host to device on `stream`."""
        self.call("cudaMemcpyAsync", device, host, size, self.api.cudaMemcpyKind.cudaMemcpyHostToDevice, stream)

    def to_host(self, host: int, device: int, size: int, stream: Any) -> None:
        """Queue a copy of `size` bytes from device to host on `stream`."""
        self.call("cudaMemcpyAsync", host, device, size, self.api.cudaMemcpyKind.cudaMemcpyDeviceToHost, stream)

    def begin_capture(self, stream: Any) -> None:
        """Start graph capture: work queued on `stream` is recorded instead of run."""
        mode = self.api.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        self.call("cudaStreamBeginCapture", stream, mode)

    def end_capture(self, stream: Any) -> Any:
        """End graph capture and return an executable graph."""
        graph = self.call("cudaStreamEndCapture", stream)
        try:
            return self.call("cudaGraphInstantiate", graph, 0)
        finally:
            self.call("cudaGraphDestroy", graph)

    def launch(self, graph: Any, stream: Any) -> None:
        """Queue an executable graph on `stream`."""
        self.call("cudaGraphLaunch", graph, stream)

    def destroy_graph(self, graph: Any) -> None:
        """Free an executable graph."""
        self.call("cudaGraphExecDestroy", graph)

    def destroy_stream(self, stream: Any) -> None:
        """Free a stream."""
        self.call("cudaStreamDestroy", stream)
