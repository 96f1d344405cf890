"""A recorded fake of cuda-python's runtime: a GPU in host memory, with streams that run as late as CUDA allows.

Functions return (status, ...) as cuda-bindings 12.9 and 13.5 do, with None for a result that failed. Work queued on a
stream runs only when the host or another stream waits for it, so that a missing event or a buffer that is used again
too early gives wrong numbers. Every allocation is tracked in `live`.
"""

import ctypes
import threading
from enum import IntEnum
from types import SimpleNamespace


class Status(IntEnum):
    cudaSuccess = 0
    cudaErrorMemoryAllocation = 2
    cudaErrorNoDevice = 100
    cudaErrorIllegalAddress = 700
    cudaErrorStreamCaptureInvalidated = 901


OK = Status.cudaSuccess


class FakeCudaApi:
    """cuda.bindings.runtime."""

    cudaStreamNonBlocking = 1
    cudaEventBlockingSync = 1
    cudaEventDisableTiming = 2
    cudaMemcpyKind = SimpleNamespace(cudaMemcpyHostToDevice=1, cudaMemcpyDeviceToHost=2)
    cudaStreamCaptureMode = SimpleNamespace(cudaStreamCaptureModeThreadLocal=1)

    def __init__(self, no_device=False, memory_limit=None):
        self.no_device, self.memory_limit = no_device, memory_limit
        self.live: set = set()
        self.memory: dict = {}
        self.streams: dict = {}
        self.events: dict = {}
        self.graphs: dict = {}
        self.capturing = None  # None, the captured stream, or "invalidated"
        self.captured: list = []
        self.last_error = OK
        self.instantiates = True
        self.captures = self.launches = 0
        self.counter = 100
        self.running = threading.RLock()
        self.fails: dict = {}  # name of a function -> status of its next call
        self.sticky, self.called = False, []
        FakeCudaApi.current = self

    def __getattribute__(self, name):
        """After a sticky error each call returns that error, and the process must end to use CUDA again
        (cudaErrorIllegalAddress and its kin in driver_types.h of CUDA 12 and 13)."""
        found = super().__getattribute__(name)
        if not name.startswith("cuda") or not callable(found) or name == "cudaGetLastError":
            return found
        self.called.append(name)
        if self.sticky:
            return lambda *arguments: self.failed(Status.cudaErrorIllegalAddress)
        status = self.fails.pop(name, None)
        return (lambda *arguments: self.failed(status)) if status else found

    def handle(self, kind):
        self.counter += 1
        self.live.add((kind, self.counter))
        return self.counter

    def failed(self, status):
        """A failing call sets the last error, which the next unrelated call of the runtime may report."""
        self.last_error = status
        return status, None

    def cudaGetLastError(self):
        status, self.last_error = self.last_error, OK
        return (status,)

    def cudaDriverGetVersion(self):
        """Without a driver 0 (cuda-bindings 12.9.10 and 13.5.0)."""
        return OK, 0 if self.no_device else 13000

    def cudaGetDevice(self):
        return self.failed(Status.cudaErrorNoDevice) if self.no_device else (OK, 0)

    def cudaGetDeviceProperties(self, device):
        return OK, SimpleNamespace(name=b"Fake 4090\0\0", major=8, minor=9)

    def cudaMalloc(self, size):
        held = sum(ctypes.sizeof(buffer) for key, buffer in self.memory.items() if ("memory", key) in self.live)
        if self.memory_limit is not None and held + size > self.memory_limit:
            return self.failed(Status.cudaErrorMemoryAllocation)
        buffer = (ctypes.c_uint8 * max(1, size))()
        pointer = ctypes.addressof(buffer)
        self.memory[pointer] = buffer
        self.live.add(("memory", pointer))
        return OK, pointer

    cudaMallocHost = cudaMalloc

    def cudaFree(self, pointer):
        self.live.remove(("memory", pointer))
        return (OK,)

    cudaFreeHost = cudaFree

    def do(self, stream, action):
        if self.capturing == stream:
            self.captured.append(action)
        else:
            self.streams[stream].append(action)

    def cudaMemcpyAsync(self, target, source, size, kind, stream):
        self.do(stream, lambda: ctypes.memmove(target, source, size))
        return (OK,)

    def cudaStreamCreateWithFlags(self, flags):
        stream = self.handle("stream")
        self.streams[stream] = []
        return OK, stream

    def cudaStreamDestroy(self, stream):
        self.live.remove(("stream", stream))
        return (OK,)

    def cudaStreamSynchronize(self, stream):
        assert self.capturing is None, "a synchronize cannot be captured"
        self.run(stream, len(self.streams[stream]))
        return (OK,)

    def run(self, stream, end):
        """Run a stream's first `end` pieces of work, which may make other streams run first."""
        queue = self.streams[stream]
        with self.running:
            for place in range(end):
                action, queue[place] = queue[place], None
                if action is not None:
                    action()

    def cudaEventCreateWithFlags(self, flags):
        return OK, self.handle("event")

    def cudaEventDestroy(self, event):
        self.live.remove(("event", event))
        return (OK,)

    def cudaEventRecord(self, event, stream):
        self.events[event] = (stream, len(self.streams[stream]))
        return (OK,)

    def cudaStreamWaitEvent(self, stream, event, flags):
        place = self.events[event]  # what the event stands for now, not later
        self.do(stream, lambda: self.run(*place))
        return (OK,)

    def cudaEventSynchronize(self, event):
        self.run(*self.events[event])
        return (OK,)

    def cudaStreamBeginCapture(self, stream, mode):
        self.capturing, self.captured = stream, []
        return (OK,)

    def cudaStreamEndCapture(self, stream):
        """The graph of an invalidated capture is null (sampleDevice.h of TensorRT 10.13.3, endCaptureOnError)."""
        state, self.capturing = self.capturing, None
        if state == "invalidated":
            return self.failed(Status.cudaErrorStreamCaptureInvalidated)
        graph = self.handle("captured")
        self.graphs[graph] = self.captured
        return OK, graph

    def cudaGraphInstantiate(self, graph, flags):
        if not self.instantiates:
            return self.failed(Status.cudaErrorMemoryAllocation)
        self.captures += 1
        handle = self.handle("graph")
        self.graphs[handle] = list(self.graphs[graph])
        return OK, handle

    def cudaGraphDestroy(self, graph):
        self.live.remove(("captured", graph))
        return (OK,)

    def cudaGraphLaunch(self, graph, stream):
        assert self.last_error == OK, "an earlier failure would be reported here"
        self.launches += 1
        for action in self.graphs[graph]:
            self.do(stream, action)
        return (OK,)

    def cudaGraphExecDestroy(self, graph):
        self.live.remove(("graph", graph))
        return (OK,)


class NoDriverApi(FakeCudaApi):
    """cuda-python up to 12.8 without a driver: the import works, calls raise (seen with 12.6.2.post1 and 12.8.0)."""

    dlopened = False

    def cudaDriverGetVersion(self):
        raise RuntimeError("Failed to dlopen libcuda.so.1")

    def cudaGetDevice(self):
        raise RuntimeError('Function "cuInit" not found')
