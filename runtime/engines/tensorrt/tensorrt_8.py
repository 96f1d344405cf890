"""The calls in which TensorRT 8.6 differs from 10 and 11, for borrowed GPUs that have 8.6 (`benchmarks/gpu`).

8.6 knows no strongly typed networks: every layer gets the type that its tensors have in the ONNX graph, and the builder
must obey. Its contexts without memory of their own, and the memory they are given, have other names.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...core.environment import pip_packages
from ...core.errors import MissingDependencyError

FREE_LAYERS = frozenset(("CONSTANT", "CAST", "IDENTITY", "SHAPE", "SHUFFLE", "SLICE", "CONCATENATION", "GATHER"))
"""Layers that move values without computing: their type follows from what they move, setting it is refused."""


def is_8(trt: Any) -> bool:
    """Whether a `tensorrt` module is of version 8; names that later versions drop say nothing about that."""
    return bool(trt.__version__.startswith("8."))


def create_network(trt: Any, builder: Any) -> Any:
    """An empty network, strongly typed but for 8. In 11 all are, and the flag is ignored (NvInfer.h 11.1:11471)."""
    name = "EXPLICIT_BATCH" if is_8(trt) else "STRONGLY_TYPED"
    flag = getattr(trt.NetworkDefinitionCreationFlag, name, None)
    return builder.create_network(0 if flag is None else 1 << int(flag))


def create_context(trt: Any, engine: Any) -> Any:
    """An execution context without scratch memory of its own, or None."""
    if is_8(trt):
        return engine.create_execution_context_without_device_memory()
    return engine.create_execution_context(trt.ExecutionContextAllocationStrategy.USER_MANAGED)


def scratch_bytes(trt: Any, engine: Any, context: Any) -> int | None:
    """Bytes of scratch memory that a context needs for its shape, None where TensorRT fails to tell, which is 0 there
    (`updateDeviceMemorySizeForShapes`, NvInferRuntime.h 11.1:4511). 8.6 knows those of the largest shape only."""
    if is_8(trt):
        return int(engine.device_memory_size)
    return int(context.update_device_memory_size_for_shapes()) or None


def set_scratch(trt: Any, context: Any, pointer: int, size: int) -> None:
    """Give a context its scratch memory."""
    if is_8(trt):
        context.device_memory = pointer
    else:
        context.set_device_memory(pointer, size)


def float_types(engine: Path) -> dict[str, str]:
    """Type of every float tensor of an ONNX file, "float32" or "float16", and "" of the others, by shape inference.

    The weights' values are not read.

    Raises:
        MissingDependencyError: onnx is not installed.
    """
    try:
        import onnx
    except ImportError:
        raise MissingDependencyError(f"TensorRT 8.6 needs the types of the graph: {pip_packages('onnx')}") from None
    model = onnx.load(str(engine), load_external_data=False)
    constants = [onnx.helper.make_tensor_value_info(t.name, t.data_type, t.dims) for t in model.graph.initializer]
    del model.graph.initializer[:]
    model.graph.input.extend(constants)
    graph = onnx.shape_inference.infer_shapes(model).graph
    names = {onnx.TensorProto.FLOAT: "float32", onnx.TensorProto.FLOAT16: "float16"}
    values = (*graph.input, *graph.value_info, *graph.output)
    return {value.name: names.get(value.type.tensor_type.elem_type, "") for value in values}


def obey_types(trt: Any, network: Any, config: Any, types: Mapping[str, str]) -> None:
    """Give every computing layer the float type of its tensors in the ONNX graph, and let contexts share a profile.

    Before the build TensorRT says float32 of every float tensor (`ILayer::getOutputType` in NvInfer.h 8.6.1, issue
    3435), so the types come from the graph. The parser names the last layer of an ONNX node's output after the graph's
    tensor; layers before it that the graph does not name belong to the same node.

    Args:
        trt: TensorRT's module.
        network: as parsed.
        config: of the builder.
        types: as `float_types` gives them.
    """
    config.set_flag(trt.BuilderFlag.FP16)
    config.set_flag(trt.BuilderFlag.OBEY_PRECISION_CONSTRAINTS)
    # else a second context of a profile is refused; later versions always allow it (NvInfer.h, PreviewFeature)
    config.set_preview_feature(trt.PreviewFeature.PROFILE_SHARING_0806, True)
    free = {getattr(trt.LayerType, name) for name in FREE_LAYERS if hasattr(trt.LayerType, name)}
    found = ""
    for index in reversed(range(network.num_layers)):
        layer = network.get_layer(index)
        outputs = [layer.get_output(i) for i in range(layer.num_outputs)]
        found = next((types[output.name] for output in outputs if output.name in types), found)
        if found and layer.type not in free and all(output.dtype == trt.float32 for output in outputs):
            layer.precision = getattr(trt, found)
            for i in range(layer.num_outputs):
                layer.set_output_type(i, getattr(trt, found))
