"""The CUDA runtime calls that the TensorRT backend uses, through cuda-python, without torch."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...core.environment import install_tensorrt
from ...core.errors import CinemaeError, EngineError, MissingDependencyError

NO_GPU = "check nvidia-smi and the driver, or use --device cpu"
OUT_OF_MEMORY = "use a smaller --batch-size or free GPU memory"


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
    """CUDA runtime calls that raise on failure.

    Pointers to device memory are integers; streams, events and graphs are cuda-python's handles.
    """

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
            MissingDependencyError: cuda-python is not installed, or finds no driver.
        """
        try:
            from cuda.bindings import runtime as api
        except ImportError:
            try:
                from cuda import cudart as api
            except ImportError:
                raise MissingDependencyError(f"cuda-python is not installed: {install_tensorrt()}") from None
        try:
            api.cudaDriverGetVersion()  # later versions return a status, those up to 12.8 raise without a driver
        except RuntimeError as error:
            raise MissingDependencyError(f"no NVIDIA driver ({error}): {NO_GPU}") from None
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
            self.api.cudaGetLastError()  # clears it: else an unrelated call, also in TensorRT, would report it again
            text = str(getattr(status, "name", status))
            if any(word in text for word in ("NoDevice", "InsufficientDriver", "InitializationError")):
                raise MissingDependencyError(f"no usable NVIDIA GPU ({text}): {NO_GPU}")
            fix = f"; {OUT_OF_MEMORY}" if "MemoryAllocation" in text else ""
            raise EngineError(f"CUDA: {name} failed: {text}{fix}")
        return results[0] if len(results) == 1 else tuple(results)

    def release(self, name: str, *arguments: Any) -> None:
        """Call a function that waits or frees; its failure is one that an earlier call has told, and the rest goes on.

        After a sticky error (an illegal address, for instance) each call fails, and the process must end to use CUDA.
        """
        with suppress(CinemaeError):
            self.call(name, *arguments)

    def device(self) -> CudaDevice:
        """Name and compute capability of the current GPU."""
        properties = self.call("cudaGetDeviceProperties", self.call("cudaGetDevice"))
        name = properties.name.decode() if isinstance(properties.name, bytes) else str(properties.name)
        return CudaDevice(name.rstrip("\0"), f"{properties.major}.{properties.minor}")

    def allocate(self, size: int) -> int:
        """Allocate `size` bytes of device memory and return the pointer."""
        return int(self.call("cudaMalloc", size))

    def pinned(self, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
        """Allocate page-locked host memory; `free_pinned` frees it."""
        size = int(np.prod(shape)) * dtype.itemsize
        buffer = (ctypes.c_uint8 * size).from_address(int(self.call("cudaMallocHost", size)))
        return np.frombuffer(memoryview(buffer), dtype).reshape(shape)

    def free_pinned(self, array: np.ndarray) -> None:
        """Free the memory of an array that `pinned` gave. Neither it nor others over the memory may be used then."""
        self.release("cudaFreeHost", array.ctypes.data)

    def stream(self) -> Any:
        """Create a stream that does not synchronise with the default stream, as graph capture requires."""
        return self.call("cudaStreamCreateWithFlags", self.api.cudaStreamNonBlocking)

    def to_device(self, device: int, host: np.ndarray, stream: Any) -> None:
        """Queue a copy of a contiguous array to device memory on `stream`."""
        kind = self.api.cudaMemcpyKind.cudaMemcpyHostToDevice
        self.call("cudaMemcpyAsync", device, host.ctypes.data, host.nbytes, kind, stream)

    def to_host(self, host: np.ndarray, device: int, stream: Any) -> None:
        """Queue a copy from device memory to a contiguous array on `stream`."""
        kind = self.api.cudaMemcpyKind.cudaMemcpyDeviceToHost
        self.call("cudaMemcpyAsync", host.ctypes.data, device, host.nbytes, kind, stream)

    def capture(self, stream: Any, work: Callable[[], None]) -> Any:
        """Record the work that a function queues on `stream` instead of running it, and return an executable graph.

        Args:
            stream: where `work` queues.
            work: raises EngineError where it fails.

        Raises:
            EngineError: `work` or the capture fails; the stream is usable again, and no graph is left behind.
        """
        mode = self.api.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        try:
            self.call("cudaStreamBeginCapture", stream, mode)
            try:
                work()
            except BaseException:
                # an invalidated capture gives no graph, one that `work` gave up gives a graph of no use
                status, *graphs = self.api.cudaStreamEndCapture(stream)
                if int(status) == 0:
                    self.call("cudaGraphDestroy", graphs[0])
                raise
            graph = self.call("cudaStreamEndCapture", stream)
            try:
                return self.call("cudaGraphInstantiate", graph, 0)
            finally:
                self.call("cudaGraphDestroy", graph)
        except BaseException:
            self.api.cudaGetLastError()  # as in `call`: TensorRT leaves one behind
            raise

    def event(self) -> Any:
        """Create an event without timing; waiting for it sleeps, which leaves the core to the decoders."""
        flags = self.api.cudaEventDisableTiming | self.api.cudaEventBlockingSync
        return self.call("cudaEventCreateWithFlags", flags)
