"""Torch module to ONNX graph. Weights stay outside while tracing and are attached one by one: one copy in memory."""

from __future__ import annotations

import io
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
import onnx_ir as ir
import torch
from onnx import NodeProto, helper
from onnxscript import optimizer
from torch import Tensor, nn

OPSET = 17
"""LayerNormalization exists from 17 on, and TensorRT 8.6 reads up to 17. Exact GELU is spelled out with Erf."""

IR_VERSION = 8
"""The container version of opset 17: readers of that time (onnxruntime 1.12, TensorRT 8.6) accept it."""

BATCH = "batch"


@dataclass(frozen=True)
class Signature:
    """Names of a graph's inputs and outputs.

    Attributes:
        inputs: input names, in the order of the module's arguments.
        outputs: output names, in the order of the module's results.
        dynamic: for each name that has dynamic axes, axis -> name of the dimension.
    """

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    dynamic: dict[str, dict[int, str]]


FUSED = Signature(
    ("images",),
    ("logit", "stats", "lcas"),
    {name: {0: BATCH} for name in ("images", "logit", "stats", "lcas")},
)


def trace(module: nn.Module, example: Sequence[Tensor], signature: Signature) -> onnx.ModelProto:
    """Trace `module` into a graph with all its parameters and buffers as initializers.

    The TorchScript-based exporter is used: the newer one cannot write opset 17, and TensorRT 8.6 reads no later one.
    onnxscript folds shape arguments and drops identity casts while the graph holds no weights yet.

    Args:
        module: the module to trace; it is put into eval mode.
        example: one tensor for each input.
        signature: names and dynamic axes of the inputs and outputs.

    Returns:
        The model; the same module always gives the same bytes.
    """
    buffer = io.BytesIO()
    with warnings.catch_warnings(), torch.no_grad():
        warnings.filterwarnings("ignore", category=DeprecationWarning)
        warnings.filterwarnings("ignore", category=torch.jit.TracerWarning)
        torch.onnx.export(
            module.eval(), tuple(example), buffer,  # type: ignore[arg-type]
            dynamo=False, opset_version=OPSET, export_params=False, do_constant_folding=False,
            input_names=list(signature.inputs), output_names=list(signature.outputs), dynamic_axes=signature.dynamic,
        )
    graph = ir.from_proto(onnx.load_from_string(buffer.getvalue()))
    optimizer.optimize_ir(graph)
    model = ir.to_proto(graph)
    attach_weights(model, module, signature)
    drop_unused(model)
    tidy(model)
    return model


def attach_weights(model: onnx.ModelProto, module: nn.Module, signature: Signature) -> None:
    """Turn every graph input that is a parameter or buffer of `module` into an initializer."""
    tensors = dict(module.named_parameters(remove_duplicate=False)) | dict(module.named_buffers(remove_duplicate=False))
    kept = [value for value in model.graph.input if value.name in signature.inputs]
    weights = [value.name for value in model.graph.input if value.name not in signature.inputs]
    del model.graph.input[:]
    model.graph.input.extend(kept)
    for name in weights:
        tensor = tensors[name].detach().cpu()
        bits = tensor.contiguous().view(torch.uint16) if tensor.dtype == torch.bfloat16 else tensor  # numpy has none
        model.graph.initializer.append(tensor_proto(name, bits.numpy()))
        if tensor.dtype == torch.bfloat16:
            model.graph.initializer[-1].data_type = onnx.TensorProto.BFLOAT16


def tensor_proto(name: str, values: np.ndarray) -> onnx.TensorProto:
    """`values` as an initializer with raw little-endian bytes."""
    proto = onnx.TensorProto(name=name, data_type=helper.np_dtype_to_tensor_dtype(values.dtype), dims=values.shape)
    proto.raw_data = np.ascontiguousarray(values).tobytes()
    return proto


def neighbours(model: onnx.ModelProto) -> tuple[dict[str, NodeProto], dict[str, NodeProto]]:
    """The node that makes each value, and the last node that reads the value."""
    made = {node.output[0]: node for node in model.graph.node}
    return made, {name: node for node in model.graph.node for name in node.input}


def replace_nodes(model: onnx.ModelProto, replaced: Mapping[str, Sequence[NodeProto]]) -> None:
    """Put other nodes in the place of some, named by their first output, and drop what is not needed then."""
    nodes = [new for node in model.graph.node for new in replaced.get(node.output[0], (node,))]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    drop_unused(model)


def drop_unused(model: onnx.ModelProto) -> None:
    """Remove nodes and initializers that no output needs, in place: onnx_ir's pass would copy every weight."""
    needed = {value.name for value in model.graph.output}
    nodes = []
    for node in reversed(model.graph.node):
        if needed.intersection(node.output):
            nodes.append(node)
            needed.update(node.input)
    del model.graph.node[:]
    model.graph.node.extend(reversed(nodes))
    kept = [tensor for tensor in model.graph.initializer if tensor.name in needed]
    if len(kept) != len(model.graph.initializer):
        del model.graph.initializer[:]
        model.graph.initializer.extend(kept)


def tidy(model: onnx.ModelProto) -> None:
    """Remove what differs from run to run or machine to machine: doc strings, intermediate types, producer version."""
    for node in model.graph.node:
        node.ClearField("doc_string")
        del node.metadata_props[:]
    del model.graph.value_info[:]
    model.graph.name = "cinemae"
    model.producer_name, model.producer_version = "cinemae", ""
    model.ir_version = IR_VERSION
