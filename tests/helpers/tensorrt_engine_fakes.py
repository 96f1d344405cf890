"""A fake of TensorRT's engine and execution context, which computes with onnxruntime's CPU on `cuda_fakes`' GPU.

Names and signatures are those of python/src/infer/pyCore.cpp in NVIDIA/TensorRT: v8.6.1 lines 353-362, 835, 922-931 and
1036; v10.13.3 lines 1323-1328, 1461-1478; v11.1 lines 336-352, 1300-1304, 1422-1431.
"""

import ctypes
from typing import ClassVar

import numpy as np
from cinemae.runtime.engines.onnx.library import import_onnxruntime
from cuda_fakes import FakeCudaApi

SIZE, PATCHES = 64, 16
SCRATCH_PER_IMAGE = 1000
OWN = "memory of its own"


class FakeEngine:
    num_io_tensors = 4
    tensors: ClassVar = {"images": ((SIZE, SIZE, 3), "uint8"), "logit": ((), "float32"), "stats": ((3,), "float32"),
               "lcas": ((PATCHES,), "float32")}

    def __init__(self, trt, profiles, model):
        self.trt, self.profiles = trt, profiles
        self.num_optimization_profiles = len(profiles)
        self.session = import_onnxruntime().InferenceSession(model, providers=["CPUExecutionProvider"])
        if trt.strategies:
            self.create_execution_context = self._with_strategy
        else:
            self.create_execution_context = self._with_own_memory  # 8.6.1 has both, the first without arguments
            self.create_execution_context_without_device_memory = self._context
            self.device_memory_size = SCRATCH_PER_IMAGE * max(profile[2] for profile in profiles)

    def get_tensor_name(self, index):
        return list(self.tensors)[index]

    def get_tensor_shape(self, name):
        return (-1, *self.tensors[name][0])

    def get_tensor_dtype(self, name):
        return self.tensors[name][1]

    def get_tensor_mode(self, name):
        return "in" if name == "images" else "out"

    def get_tensor_profile_shape(self, name, index):
        return [(batch, *self.tensors[name][0]) for batch in self.profiles[index]]

    def _with_strategy(self, strategy=0):
        """`create_execution_context`: STATIC, the default, gives each context scratch memory of its own."""
        managed = strategy == self.trt.ExecutionContextAllocationStrategy.USER_MANAGED
        return self._context() if managed else self._with_own_memory()

    def _with_own_memory(self):
        context = self._context()
        context.memory, context.profile = OWN, 0
        return context

    def _context(self):
        context = FakeContext(self.trt, self.session, self.profiles)
        self.trt.contexts.append(context)
        if self.trt.strategies:
            context.update_device_memory_size_for_shapes = context.needed
            context.set_device_memory = context.give
        return context


class FakeContext:
    """An execution context without memory of its own, on whose one shape every graph captured from it depends.

    A graph replayed after another `set_input_shape` computes with the wrong shape, silently: here, the next row.
    """

    def __init__(self, trt, session, profiles):
        self.trt, self.session, self.profiles = trt, session, profiles
        self.addresses, self.batch, self.profile, self.memory = {}, None, None, None

    def set_optimization_profile_async(self, index, stream):
        if index >= len(self.profiles):
            raise RuntimeError("Error in set optimization profile async.")  # v8.6.1 pyCore.cpp:356
        self.profile = index
        return True

    def set_tensor_address(self, name, pointer):
        self.trt.record("set_tensor_address", name)
        self.addresses[name] = pointer
        return True

    def set_input_shape(self, name, shape):
        """8.6 has no default profile for a second context (NvInferRuntime.h 8.6.1:3122-3127)."""
        self.trt.record("set_input_shape", name, shape)
        smallest, _, largest = self.profiles[self.profile]
        if not smallest <= shape[0] <= largest:
            self.trt.error(f"IExecutionContext::setInputShape: Error Code 3: API Usage Error (batch {shape[0]})")
            return False
        self.batch = shape[0]
        return True

    def needed(self):
        """"Total amount of memory required on success, 0 if error occurred" (updateDeviceMemorySizeForShapes,
        NvInferRuntime.h 11.1:4511)."""
        if self.trt.no_size:
            self.trt.error("IExecutionContext::updateDeviceMemorySizeForShapes: Error Code 4: Internal Error")
            return 0
        return SCRATCH_PER_IMAGE * self.batch

    def give(self, pointer, size):
        assert size >= self.needed()
        self.device_memory = pointer

    @property
    def device_memory(self):
        raise AttributeError("write-only, as def_property with nullptr")

    @device_memory.setter
    def device_memory(self, pointer):
        assert ("memory", pointer) in FakeCudaApi.current.live
        self.memory = pointer

    def execute_async_v3(self, stream):
        api = FakeCudaApi.current
        assert self.memory == OWN or ("memory", self.memory) in api.live, "its scratch memory was freed"
        if self.trt.out_of_memory:
            self.trt.error("[executionContext.cpp::enqueue::1] Error Code 1: Cuda Runtime (out of memory)")
            return False
        if self.trt.no_graphs and api.capturing:
            self.trt.error("Error Code 1: Cuda Runtime (operation not permitted when stream is capturing)")
            api.capturing = "invalidated"
            return False
        batch = self.batch

        def compute():
            images = self.view("images", np.uint8, (batch, SIZE, SIZE, 3))
            shapes = {"logit": (batch,), "stats": (batch, 3), "lcas": (batch, PATCHES)}
            off = 0 if self.batch == batch else 1
            for (name, shape), value in zip(shapes.items(), self.session.run(None, {"images": images}), strict=True):
                self.view(name, np.float32, shape)[:] = np.roll(value, off, axis=0) + off
            if batch > 1:
                self.view("lcas", np.float32, shapes["lcas"])[-1] += self.trt.wrong

        api.do(stream, compute)
        return True

    def view(self, name, dtype, shape):
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        raw = (ctypes.c_uint8 * size).from_address(self.addresses[name])
        return np.frombuffer(raw, dtype).reshape(shape)
