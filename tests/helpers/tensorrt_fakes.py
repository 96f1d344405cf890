"""Recorded fakes of TensorRT's Python API and of cuda-python's runtime, and the real TensorRT-RTX where installed.

The fake device is host memory: copies really copy, a captured graph really replays, and every allocation is tracked.
The fake plan holds the ONNX engine it was built from, and computes it with onnxruntime's CPU.
"""

import ctypes
import importlib.util
from enum import IntEnum
from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar

import numpy as np
import onnx
from cinemae.runtime.engines.onnxruntime_import import import_onnxruntime

SIZE, PATCHES = 64, 16
PLAN = b"a fake plan"


class FakeCudaApi:
    """cudaX functions returning (status, ...) as cuda-python's do."""

    cudaStreamNonBlocking = 1
    cudaMemcpyKind = SimpleNamespace(cudaMemcpyHostToDevice=1, cudaMemcpyDeviceToHost=2)
    cudaStreamCaptureMode = SimpleNamespace(cudaStreamCaptureModeThreadLocal=1)

    def __init__(self, no_device=False):
        self.no_device = no_device
        self.live: set = set()
        self.memory: dict = {}
        self.recording = None
        self.captures = self.launches = 0
        self.counter = 100
        FakeCudaApi.current = self

    def handle(self, kind):
        self.counter += 1
        self.live.add((kind, self.counter))
        return self.counter

    def do(self, action):
        if self.recording is None:
            action()
        else:
            self.recording.append(action)
        return (0,)

    def cudaGetDevice(self):
        if self.no_device:
            return (NoDevice.cudaErrorNoDevice,)
        return (0, 0)

    def cudaGetDeviceProperties(self, device):
        return 0, SimpleNamespace(name=b"Fake 4090\0\0", major=8, minor=9)

    def cudaMalloc(self, size):
        buffer = (ctypes.c_uint8 * max(1, size))()
        pointer = ctypes.addressof(buffer)
        self.memory[pointer] = buffer
        self.live.add(("memory", pointer))
        return 0, pointer

    cudaMallocHost = cudaMalloc

    def cudaFree(self, pointer):
        self.live.remove(("memory", pointer))
        return (0,)

    cudaFreeHost = cudaFree

    def cudaMemcpyAsync(self, target, source, size, kind, stream):
        return self.do(lambda: ctypes.memmove(target, source, size))

    def cudaStreamCreateWithFlags(self, flags):
        return 0, self.handle("stream")

    def cudaStreamDestroy(self, stream):
        self.live.remove(("stream", stream))
        return (0,)

    def cudaStreamSynchronize(self, stream):
        assert self.recording is None, "a synchronize cannot be recorded"
        return (0,)

    def cudaStreamBeginCapture(self, stream, mode):
        self.recording = []
        return (0,)

    def cudaStreamEndCapture(self, stream):
        graph, self.recording = self.recording, None
        self.captures += 1
        return 0, graph

    def cudaGraphInstantiate(self, graph, flags):
        handle = self.handle("graph")
        self.memory[handle] = list(graph)
        return 0, handle

    def cudaGraphDestroy(self, graph):
        return (0,)

    def cudaGraphLaunch(self, graph, stream):
        self.launches += 1
        for action in self.memory[graph]:
            action()
        return (0,)

    def cudaGraphExecDestroy(self, graph):
        self.live.remove(("graph", graph))
        return (0,)


class NoDevice(IntEnum):
    cudaErrorNoDevice = 100


MOVES = {"Reshape": "shuffle", "Transpose": "shuffle", "Unsqueeze": "shuffle", "Gather": "gather", "Slice": "slice",
         "Concat": "concatenation", "Cast": "cast", "Identity": "identity"}  # fmt: skip


class FakeLayer:
    """A layer before the build. Its type is float32 or int32 whatever the graph says, as NvInfer.h 8.6.1 documents:
    "If no precision has been set, DataType::kFLOAT will be returned, unless the output type is inherently
    DataType::kINT32" (getOutputType; see also NVIDIA/TensorRT issue 3435)."""

    def __init__(self, name, kind, outputs, integer=False):
        self.name, self.type, self.precision, self.output_types = name, kind, None, {}
        self.outputs = [SimpleNamespace(name=output, dtype="int32" if integer else "float32") for output in outputs]
        self.num_outputs = len(outputs)

    def get_output(self, index):
        return self.outputs[index]

    def set_output_type(self, index, dtype):
        self.output_types[index] = dtype


class FakeTensorRt:
    """A `tensorrt` module: attribute access hands out classes and constants, `calls(name)` what was called."""

    float32, float16, int32, uint8 = "float32", "float16", "int32", "uint8"
    TensorIOMode = SimpleNamespace(INPUT="in", OUTPUT="out")
    MemoryPoolType = SimpleNamespace(WORKSPACE="workspace")
    BuilderFlag = SimpleNamespace(TF32="tf32", VERSION_COMPATIBLE="vc", FP16="fp16", OBEY_PRECISION_CONSTRAINTS="obey")
    LayerType = SimpleNamespace(SHUFFLE="shuffle", CONSTANT="constant", GATHER="gather", SLICE="slice",
                                CONCATENATION="concatenation", CAST="cast", IDENTITY="identity")  # fmt: skip

    def __init__(self, version, strongly_typed=True, fails=None):
        self.__version__ = version
        self.fails, self.loads = fails, True
        self.recorded = []
        names = {"EXPLICIT_BATCH": 0} | ({"STRONGLY_TYPED": 1} if strongly_typed else {})
        self.NetworkDefinitionCreationFlag = SimpleNamespace(**names)
        levels = {"NONE": 0, "AMPERE_PLUS": 1} | ({"SAME_COMPUTE_CAPABILITY": 2} if strongly_typed else {})
        self.HardwareCompatibilityLevel = SimpleNamespace(**levels)
        self.layers, self.onnx, self.wrong = [], b"", 0.0

        class ILogger:
            Severity = IntEnum("Severity", {"INTERNAL_ERROR": 0, "ERROR": 1, "WARNING": 2})

        class Logger(ILogger):
            ERROR = 1

            def __init__(self, severity):
                pass

        self.ILogger, self.Logger = ILogger, Logger

    def record(self, name, *arguments):
        self.recorded.append((name, arguments))

    def calls(self, name):
        return [arguments for found, arguments in self.recorded if found == name]

    def nptype(self, dtype):
        return {"float32": np.float32, "uint8": np.uint8}[dtype]

    def Builder(self, logger):
        self.logger = logger
        self.config = FakeConfig(self)
        return SimpleNamespace(
            create_network=self.create_network,
            create_builder_config=lambda: self.config,
            create_optimization_profile=lambda: SimpleNamespace(set_shape=lambda *a: self.record("set_shape", *a)),
            build_serialized_network=self.build,
        )

    def create_network(self, flags):
        self.record("create_network", flags)
        self.network = SimpleNamespace(num_layers=0, get_layer=self.layers.__getitem__)
        return self.network

    def build(self, network, config):
        if self.fails:
            self.logger.log(self.ILogger.Severity.WARNING, "noise")
            self.logger.log(self.ILogger.Severity.ERROR, self.fails)
            return None
        return PLAN + self.onnx

    def OnnxParser(self, network, logger):
        return SimpleNamespace(parse_from_file=self.parse, num_errors=0)

    def parse(self, path):
        """The parser's layers: one for a node, after an unnamed shuffle where it broadcasts a constant."""
        self.onnx = Path(path).read_bytes()
        for node in onnx.load_from_string(self.onnx).graph.node:
            kind = MOVES.get(node.op_type, node.op_type)
            if node.op_type == "LayerNormalization":
                self.layers.append(FakeLayer("(Unnamed)", "shuffle", ["(Unnamed Layer)_output"]))
            if node.op_type == "Softmax":
                self.layers.append(FakeLayer("(Unnamed)", "reduce", ["(Unnamed Layer)_output"]))
            self.layers.append(FakeLayer(node.name, kind, node.output))
        self.layers.append(FakeLayer("index", "index", ["index"], integer=True))
        self.network.num_layers = len(self.layers)
        return True

    def Runtime(self, logger):
        return SimpleNamespace(deserialize_cuda_engine=self.deserialize)

    def deserialize(self, data):
        assert data.startswith(PLAN)
        return FakeEngine(self, data[len(PLAN) :]) if self.loads else None


class FakeConfig:
    def __init__(self, trt):
        self.trt, self.hardware_compatibility_level = trt, 0

    def __getattr__(self, name):
        return lambda *arguments: self.trt.record(name, *arguments)

    def create_timing_cache(self, data):
        self.trt.record("create_timing_cache", data)
        return object()

    def set_timing_cache(self, cache, ignore_mismatch):
        return True

    def get_timing_cache(self):
        return SimpleNamespace(serialize=lambda: b"timings")


class FakeEngine:
    num_io_tensors = 4
    tensors: ClassVar = {"images": ((SIZE, SIZE, 3), "uint8"), "logit": ((), "float32"), "stats": ((3,), "float32"),
               "lcas": ((PATCHES,), "float32")}  # fmt: skip

    def __init__(self, trt, model):
        self.trt = trt
        self.session = import_onnxruntime().InferenceSession(model, providers=["CPUExecutionProvider"])

    def get_tensor_name(self, index):
        return list(self.tensors)[index]

    def get_tensor_shape(self, name):
        return (-1, *self.tensors[name][0])

    def get_tensor_dtype(self, name):
        return self.tensors[name][1]

    def get_tensor_mode(self, name):
        return "in" if name == "images" else "out"

    def create_execution_context(self):
        return FakeContext(self.trt, self.session)


class FakeContext:
    def __init__(self, trt, session):
        self.trt, self.session, self.addresses, self.batch = trt, session, {}, None

    def set_tensor_address(self, name, pointer):
        self.trt.record("set_tensor_address", name)
        self.addresses[name] = pointer
        return True

    def set_input_shape(self, name, shape):
        self.trt.record("set_input_shape", name, shape)
        self.batch = shape[0]
        return True

    def execute_async_v3(self, stream):
        batch = self.batch

        def compute():
            images = self.view("images", np.uint8, (batch, SIZE, SIZE, 3))
            shapes = {"logit": (batch,), "stats": (batch, 3), "lcas": (batch, PATCHES)}
            for (name, shape), value in zip(shapes.items(), self.session.run(None, {"images": images}), strict=True):
                self.view(name, np.float32, shape)[:] = value
            if batch > 1:
                self.view("lcas", np.float32, shapes["lcas"])[-1] += self.trt.wrong

        FakeCudaApi.current.do(compute)
        return True

    def view(self, name, dtype, shape):
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        raw = (ctypes.c_uint8 * size).from_address(self.addresses[name])
        return np.frombuffer(raw, dtype).reshape(shape)


def real_rtx():
    """The tensorrt_rtx bindings with the libraries of the onnxruntime plug-in, or None where not installed."""
    bindings, libraries = map(importlib.util.find_spec, ("tensorrt_rtx_bindings", "onnxruntime_ep_nv_tensorrt_rtx"))
    if not (bindings and libraries):
        return None
    folder = Path(libraries.origin).parent
    for pattern in ("libcudart.so.*", "libtensorrt_rtx.so.*", "libtensorrt_onnxparser_rtx.so.*"):
        for library in folder.glob(pattern):
            ctypes.CDLL(str(library), mode=ctypes.RTLD_GLOBAL)
    import tensorrt_rtx_bindings

    return tensorrt_rtx_bindings
