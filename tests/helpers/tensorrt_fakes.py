"""A recorded fake of TensorRT's Python API over the fake GPU of `cuda_fakes`, and the real TensorRT-RTX if installed.

The fake plan holds the profiles and the ONNX engine it was built from. For 8.6, 10 and 11 it has the names of
python/src/infer/pyCore.cpp in NVIDIA/TensorRT at v8.6.1, v10.13.3 and v11.1.
"""

import ctypes
import importlib.util
import json
from enum import IntEnum
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
from cinemae.export.request import BuildOptions
from tensorrt_engine_fakes import FakeEngine

PLAN = b"a fake plan"


def batches(smallest, best, largest):
    """Options of a plan for these batches."""
    return BuildOptions(min_batch=smallest, best_batch=best, max_batch=largest)


MOVES = {"Reshape": "shuffle", "Transpose": "shuffle", "Unsqueeze": "shuffle", "Gather": "gather", "Slice": "slice",
         "Concat": "concatenation", "Cast": "cast", "Identity": "identity"}


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
                                CONCATENATION="concatenation", CAST="cast", IDENTITY="identity")

    def __init__(self, version, fails=None):
        self.__version__ = version
        self.fails, self.loads = fails, True
        self.recorded = []
        self.strategies = not version.startswith("8")
        flags = {"EXPLICIT_BATCH": 0, "STRONGLY_TYPED": 1} if self.strategies else {"EXPLICIT_BATCH": 0}
        self.NetworkDefinitionCreationFlag = SimpleNamespace(**flags)
        levels = {"NONE": 0, "AMPERE_PLUS": 1} | ({"SAME_COMPUTE_CAPABILITY": 2} if self.strategies else {})
        self.HardwareCompatibilityLevel = SimpleNamespace(**levels)
        self.layers, self.onnx, self.wrong = [], b"", 0.0
        self.out_of_memory = self.no_graphs = self.no_size = False
        self.contexts = []
        if self.strategies:  # v10.13.3 pyCore.cpp:1386-1392; 8.6 has a method of the engine instead
            self.ExecutionContextAllocationStrategy = SimpleNamespace(STATIC=0, ON_PROFILE_CHANGE=1, USER_MANAGED=2)
        else:
            self.PreviewFeature = SimpleNamespace(PROFILE_SHARING_0806=2)

        class ILogger:
            Severity = IntEnum("Severity", {"INTERNAL_ERROR": 0, "ERROR": 1, "WARNING": 2})

        class Logger(ILogger):
            """Prints on stdout (DefaultLogger::log, pyCore.cpp:612 at v8.6.1, :990 at v11.1)."""

            ERROR = 1

            def __init__(self, severity):
                pass

            def log(self, severity, message):
                print(message)

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
            create_optimization_profile=lambda: FakeProfile(self),
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
        return PLAN + json.dumps(config.profiles).encode() + b"\n" + self.onnx

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
        """The binding raises TypeError for anything but an ILogger (pybind11)."""
        assert isinstance(logger, self.ILogger)
        self.logger = logger
        return SimpleNamespace(deserialize_cuda_engine=self.deserialize)

    def deserialize(self, data):
        assert data.startswith(PLAN)
        if not self.loads:
            self.error("IRuntime::deserializeCudaEngine: Error Code 1: Serialization (magic tag does not match)")
            return None
        profiles, _, model = data[len(PLAN) :].partition(b"\n")
        return FakeEngine(self, json.loads(profiles), model)

    def error(self, message):
        """TensorRT reports through the logger, then returns None or False."""
        self.logger.log(self.ILogger.Severity.ERROR, message)


class FakeProfile:
    def __init__(self, trt):
        self.trt = trt

    def set_shape(self, name, *shapes):
        self.trt.record("set_shape", name, *shapes)
        self.batches = [shape[0] for shape in shapes]


class FakeConfig:
    def __init__(self, trt):
        self.trt, self.hardware_compatibility_level, self.profiles = trt, 0, []

    def add_optimization_profile(self, profile):
        self.profiles.append(profile.batches)
        return len(self.profiles) - 1

    def __getattr__(self, name):
        return lambda *arguments: self.trt.record(name, *arguments)

    def create_timing_cache(self, data):
        self.trt.record("create_timing_cache", data)
        return object()

    def set_timing_cache(self, cache, ignore_mismatch):
        return True

    def get_timing_cache(self):
        return SimpleNamespace(serialize=lambda: b"timings")


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
