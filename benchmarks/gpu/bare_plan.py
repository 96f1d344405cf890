"""A plan built and run with TensorRT, cuda-python and numpy alone, where the product's backend lacks pydantic.

The proof of `prove.py` takes the product's own builder and backend wherever they import; this is for TensorRT's own
interpreter without them. `cinemae.runtime.engines.cuda.driver` and `tensorrt.tensorrt_8` need no more than numpy.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from cinemae.runtime.engines.tensorrt import tensorrt_8

PRODUCT = 0.02
"""Relative error of an fp16 product, in case its sums are fp16 too."""

OUTPUTS = ("logit", "stats", "lcas")


def serialized(trt: Any, builder: Any, network: Any, config: Any) -> bytes:
    """The built plan; a failure is a RuntimeError."""
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise RuntimeError(f"TensorRT {trt.__version__} built no plan; its log is above")
    return bytes(plan)


def build_bare(trt: Any, engine: Path, plan: Path, batch: Sequence[int]) -> None:
    """Build `plan` from the ONNX file `engine`. TensorRT 8.6 reads types in `NAME.types.json` of stage a."""
    builder = trt.Builder(trt.Logger(trt.Logger.ERROR))
    network = tensorrt_8.create_network(trt, builder)
    parser = trt.OnnxParser(network, trt.Logger(trt.Logger.ERROR))
    if not parser.parse_from_file(str(engine)):
        raise RuntimeError("; ".join(parser.get_error(i).desc() for i in range(parser.num_errors)))
    config = builder.create_builder_config()
    config.clear_flag(trt.BuilderFlag.TF32)
    profile = builder.create_optimization_profile()
    shape = tuple(network.get_input(0).shape)[1:]
    profile.set_shape("images", *((size, *shape) for size in batch))
    config.add_optimization_profile(profile)
    if tensorrt_8.is_8(trt):
        tensorrt_8.obey_types(trt, network, config, json.loads(engine.with_suffix(".types.json").read_text()))
    plan.write_bytes(serialized(trt, builder, network, config))


class BarePlan:
    """A plan with one context and pinned buffers, without CUDA graphs."""

    def __init__(self, trt: Any, cuda: Any, plan: Path, largest: int, size: int, patches: int) -> None:
        self.cuda, self.stream = cuda, cuda.stream()
        self.runtime = trt.Runtime(trt.Logger(trt.Logger.ERROR))
        self.engine = self.runtime.deserialize_cuda_engine(plan.read_bytes())
        if self.engine is None:
            raise RuntimeError(f"{plan}: TensorRT {trt.__version__} cannot load it; remove it and run stage b again")
        self.context = self.engine.create_execution_context()
        shapes = {"images": (size, size, 3), "logit": (), "stats": (3,), "lcas": (patches,)}
        self.device, self.host = {}, {}
        for name, shape in shapes.items():
            dtype = np.dtype(np.uint8 if name == "images" else np.float32)
            self.host[name] = cuda.pinned((largest, *shape), dtype)
            self.device[name] = cuda.allocate(self.host[name].nbytes)
            self.context.set_tensor_address(name, self.device[name])

    def infer(self, images: np.ndarray) -> list[np.ndarray]:
        """uint8 [B, S, S, 3] -> logit [B], stats [B, 3], lcas [B, N]."""
        batch = len(images)
        self.host["images"][:batch] = images
        self.context.set_input_shape("images", images.shape)
        self.cuda.to_device(self.device["images"], self.host["images"][:batch], self.stream)
        if not self.context.execute_async_v3(int(self.stream)):
            raise RuntimeError(f"TensorRT failed to run a batch of {batch}")
        for name in OUTPUTS:
            self.cuda.to_host(self.host[name][:batch], self.device[name], self.stream)
        self.cuda.call("cudaStreamSynchronize", self.stream)
        return [self.host[name][:batch].copy() for name in OUTPUTS]

    def close(self) -> None:
        """Free the buffers and the stream."""
        for name, array in self.host.items():
            self.cuda.release("cudaFree", self.device[name])
            self.cuda.free_pinned(array)
        self.cuda.release("cudaStreamDestroy", self.stream)
        self.context = self.engine = None


def matmul_engine(trt: Any, size: int) -> bytes:
    """A plan of one fp16 product [size, size] x [size, size], inputs "a" and "b", output "y"."""
    builder = trt.Builder(trt.Logger(trt.Logger.ERROR))
    network = tensorrt_8.create_network(trt, builder)
    inputs = [network.add_input(name, trt.float16, (size, size)) for name in "ab"]
    layer = network.add_matrix_multiply(inputs[0], trt.MatrixOperation.NONE, inputs[1], trt.MatrixOperation.NONE)
    layer.get_output(0).name = "y"
    network.mark_output(layer.get_output(0))
    config = builder.create_builder_config()
    if tensorrt_8.is_8(trt):
        config.set_flag(trt.BuilderFlag.FP16)
        layer.get_output(0).dtype = trt.float16
    return serialized(trt, builder, network, config)


def matmul_peak(trt: Any, cuda: Any, clock: Any, size: int, repeats: int = 20) -> float:
    """FLOP/s of a large fp16 product: `repeats` of them are queued on one stream and timed together.

    The factors are random, since a GPU draws less power and runs faster on zeros; a row of the product is checked.
    """
    runtime = trt.Runtime(trt.Logger(trt.Logger.ERROR))
    engine = runtime.deserialize_cuda_engine(matmul_engine(trt, size))
    context, stream = engine.create_execution_context(), cuda.stream()
    factor = np.random.default_rng(0).standard_normal((size, size), np.float32).astype(np.float16)
    pointers = {name: cuda.allocate(factor.nbytes) for name in "aby"}
    for name, pointer in pointers.items():
        context.set_tensor_address(name, pointer)
        cuda.to_device(pointer, factor, stream)

    def run(times: int) -> float:
        start = clock()
        for _ in range(times):
            if not context.execute_async_v3(int(stream)):
                raise RuntimeError(f"TensorRT {trt.__version__} refused to queue the product; its log is above")
        cuda.call("cudaStreamSynchronize", stream)
        return clock() - start

    try:
        run(3)
        peak = repeats * 2.0 * size**3 / run(repeats)
        row, expected = np.empty_like(factor[0]), factor[0].astype(np.float32) @ factor.astype(np.float32)
        cuda.to_host(row, pointers["y"], stream)
        cuda.call("cudaStreamSynchronize", stream)
    finally:
        for pointer in pointers.values():
            cuda.release("cudaFree", pointer)
        cuda.release("cudaStreamDestroy", stream)
    if not np.linalg.norm(row - expected) <= PRODUCT * np.linalg.norm(expected):
        raise RuntimeError(f"TensorRT {trt.__version__} multiplied wrongly")
    return peak
