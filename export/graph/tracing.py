"""Torch module to ONNX graph. Weights stay outside while tracing and are attached one by one: one copy in memory."""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx
import torch
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from torch import Tensor, nn

OPSET = 17
"""LayerNormalization exists from 17 on, and TensorRT 8.6 reads up to 17. Exact GELU is spelled out with Erf."""

IR_VERSION = 8
"""The container version of opset 17: readers of that time (onnxruntime 1.12, TensorRT 8.6) accept it."""

BATCH = "batch"


@dataclass(frozen=True)
class Signature:
    """Names of a graph's inputs and outputs; those in `batched` have a dynamic first dimension."""

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    dynamic: dict[str, dict[int, str]]


FUSED = Signature(
    ("images",),
    ("logit", "stats", "lcas"),
    {name: {0: BATCH} for name in ("images", "logit", "stats", "lcas")},
)


def trace(module: nn.Module, example: Sequence[Tensor], signature: Signature) -> onnx.ModelProto:
    """Trace `module` into an opset-17 graph with all its parameters and buffers as initializers.

    The TorchScript-based exporter is used: the newer one cannot write opset 17, and TensorRT 8.6 reads no later one.
    """
    buffer = io.BytesIO()
    with warnings.catch_warnings(), torch.no_grad():
        warnings.filterwarnings("ignore", category=DeprecationWarning)
        warnings.filterwarnings("ignore", category=torch.jit.TracerWarning)
        torch.onnx.export(
            module.eval(), tuple(example), buffer,  # type: ignore[arg-type]
            dynamo=False, opset_version=OPSET, export_params=False, do_constant_folding=False,
            input_names=list(signature.inputs), output_names=list(signature.outputs), dynamic_axes=signature.dynamic,
        )  # fmt: skip
    model = onnx.load_from_string(buffer.getvalue())
    fold_constants(model)
    drop_identity_casts(model)
    attach_weights(model, module, signature)
    drop_unused(model)
    tidy(model)
    return model


def fold_constants(model: onnx.ModelProto) -> None:
    """Compute every node that depends on Constant nodes alone (shape arguments), and share equal constants.

    Weights are not attached yet, so only small tensors are ever computed.
    """
    known: dict[str, np.ndarray] = {}
    nodes = []
    for node in model.graph.node:
        if node.op_type == "Constant":
            known[node.output[0]] = numpy_helper.to_array(node.attribute[0].t)
        elif node.input and all(name in known for name in node.input if name):
            single = helper.make_graph(
                [node], "one", [helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(known[n].dtype), None)
                                for n in set(node.input) if n],
                [helper.make_empty_tensor_value_info(n) for n in node.output],
            )  # fmt: skip
            evaluator = ReferenceEvaluator(helper.make_model(single, opset_imports=model.opset_import))
            values = evaluator.run(None, {name: known[name] for name in node.input if name})
            known.update(zip(node.output, (np.asarray(value) for value in values), strict=True))
        else:
            nodes.append(node)
    shared: dict[tuple[str, tuple[int, ...], bytes], str] = {}
    for node in nodes:
        for at, name in enumerate(node.input):
            if name in known:
                value = known[name]
                content = (value.dtype.str, value.shape, value.tobytes())
                if content not in shared:
                    shared[content] = f"constant_{len(shared)}"
                    model.graph.initializer.append(tensor_proto(shared[content], value))
                node.input[at] = shared[content]
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def attach_weights(model: onnx.ModelProto, module: nn.Module, signature: Signature) -> None:
    """Turn every graph input that is a parameter or buffer of `module` into an initializer."""
    tensors = dict(module.named_parameters(remove_duplicate=False)) | dict(module.named_buffers(remove_duplicate=False))
    kept = [value for value in model.graph.input if value.name in signature.inputs]
    weights = [value.name for value in model.graph.input if value.name not in signature.inputs]
    del model.graph.input[:]
    model.graph.input.extend(kept)
    for name in weights:
        model.graph.initializer.append(tensor_proto(name, tensors[name].detach().cpu().numpy()))


def tensor_proto(name: str, values: np.ndarray) -> onnx.TensorProto:
    """`values` as an initializer with raw little-endian bytes."""
    proto = onnx.TensorProto(name=name, data_type=helper.np_dtype_to_tensor_dtype(values.dtype), dims=values.shape)
    proto.raw_data = np.ascontiguousarray(values).tobytes()
    return proto


def drop_identity_casts(model: onnx.ModelProto) -> None:
    """Bypass every Cast to the type its input already has (a `.float()` in a float32 graph)."""
    types = {tensor.name: tensor.data_type for tensor in model.graph.initializer}
    skeleton = onnx.ModelProto()
    skeleton.CopyFrom(model)
    del skeleton.graph.initializer[:]
    skeleton.graph.input.extend(
        helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims) for tensor in model.graph.initializer
    )
    inferred = onnx.shape_inference.infer_shapes(skeleton).graph
    types |= {value.name: value.type.tensor_type.elem_type for value in (*inferred.input, *inferred.value_info)}
    outputs = {value.name for value in model.graph.output}
    replaced: dict[str, str] = {}
    nodes = []
    for node in model.graph.node:
        for at, name in enumerate(node.input):
            node.input[at] = replaced.get(name, name)
        if node.op_type == "Cast" and types.get(node.input[0]) == node.attribute[0].i and node.output[0] not in outputs:
            replaced[node.output[0]] = node.input[0]
        else:
            nodes.append(node)
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def drop_unused(model: onnx.ModelProto) -> None:
    """Remove nodes and initializers that no output needs."""
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
