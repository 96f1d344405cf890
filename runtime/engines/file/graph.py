"""Check the graph of an ONNX engine before a backend loads it: its operators, and where its weights lie.

An allow-list leaves no operator that loops or calls code (`Loop`, `Scan`, `If`, custom domains, functions), and weights
can come only from files that the manifest lists with their hash. Field numbers are those of onnx.proto:
https://github.com/onnx/onnx/blob/main/onnx/onnx.proto
"""

from __future__ import annotations

from pathlib import Path

from ...core.errors import EngineError
from ...core.manifest import Manifest
from ...core.text import shown
from .header import INTEGER, Malformed, Message, open_message, pair
from .integrity import is_plain_name

FUSED_OPERATORS = frozenset((
    "Abs", "Add", "Cast", "Clip", "Concat", "Constant", "Conv", "Div", "Erf", "Gather", "Gemm", "Identity",
    "LayerNormalization", "Log", "MatMul", "Max", "Mul", "Pow", "QuantizeLinear", "ReduceMax", "ReduceMean",
    "ReduceMin", "ReduceSum", "Reshape", "Sigmoid", "Slice", "Softmax", "Split", "Sqrt", "Sub", "Tanh", "Transpose",
    "Unsqueeze",
    "com.microsoft.FastGelu", "com.microsoft.MatMulIntegerToFloat", "com.microsoft.MultiHeadAttention",
))
"""Operators of fused exports in every precision. `Constant`, `Identity` and `Pow` are there for other releases of
PyTorch, which may trace the same module with them."""

PARTS_OPERATORS = FUSED_OPERATORS | {
    "ConstantOfShape", "Equal", "Expand", "ScatterElements", "Shape", "Squeeze", "Where"
}
"""Operators of an engine in parts, whose masks are inputs."""

DEFAULT_DOMAINS = ("", "ai.onnx")

MODEL = frozenset((GRAPH := 7, TRAINING_INFO := 20, FUNCTIONS := 25))
GRAPH_FIELDS = frozenset((NODE := 1, INITIALIZER := 5, SPARSE_INITIALIZER := 15))
NODE_FIELDS = frozenset((OP_TYPE := 4, ATTRIBUTE := 5, DOMAIN := 7))
TENSORS, SUBGRAPHS, SPARSE_TENSORS = frozenset((5, 10)), frozenset((6, 11)), frozenset((22, 23))
"""Fields of an AttributeProto."""
EXTERNAL_DATA = frozenset((13,))
"""Field of a TensorProto: its entries `location`, `offset` and `length`."""


def check_graph(path: Path, manifest: Manifest) -> None:
    """Check operators and weight locations of an ONNX engine.

    Takes milliseconds: the weights themselves are skipped.

    Raises:
        EngineError: names the operator, or the location that is not in `manifest.external_data`.
    """
    with open_message(path) as message:
        _GraphCheck(path, manifest, message).model()


class _GraphCheck:
    def __init__(self, path: Path, manifest: Manifest, message: Message) -> None:
        self.path, self.message = path, message
        self.operators = FUSED_OPERATORS if manifest.kind == "fused" else PARTS_OPERATORS
        self.listed = manifest.external_data

    def refuse(self, what: str) -> EngineError:
        return EngineError(f"{self.path}: {what}, as no engine of this project does; use one made by cinemae-export")

    def model(self) -> None:
        for number, start, end in self.message.fields(MODEL):
            if number != GRAPH:
                raise self.refuse("holds functions or training steps")
            self.graph(start, end)

    def graph(self, start: int, end: int) -> None:
        for number, begin, stop in self.message.fields(GRAPH_FIELDS, start, end):
            if number == NODE:
                self.node(begin, stop)
            elif number == INITIALIZER:
                self.tensor(begin, stop)
            else:
                raise self.refuse("holds sparse weights")

    def node(self, start: int, end: int) -> None:
        operator = domain = ""
        attributes = []
        for number, begin, stop in self.message.fields(NODE_FIELDS, start, end):
            if stop == INTEGER:
                raise Malformed
            if number == OP_TYPE:
                operator = self.message.text(begin, stop)
            elif number == DOMAIN:
                domain = self.message.text(begin, stop)
            else:
                attributes.append((begin, stop))
        name = operator if domain in DEFAULT_DOMAINS else f"{domain}.{operator}"
        if name not in self.operators:
            raise self.refuse(f"uses operator '{shown(name)}'")
        for begin, stop in attributes:
            self.attribute(name, begin, stop)

    def attribute(self, operator: str, start: int, end: int) -> None:
        for number, begin, stop in self.message.fields(TENSORS | SUBGRAPHS | SPARSE_TENSORS, start, end):
            if number in TENSORS:
                self.tensor(begin, stop)
            else:
                raise self.refuse(f"has a subgraph or sparse tensor in operator '{operator}'")

    def tensor(self, start: int, end: int) -> None:
        for _, begin, stop in self.message.fields(EXTERNAL_DATA, start, end):
            key, value = pair(self.message, begin, stop)
            if key == "location":
                self.location(value)

    def location(self, name: str) -> None:
        if not is_plain_name(name):
            raise self.refuse(f"reads weights from '{shown(name)}', which is not a plain file name")
        if name not in self.listed:
            raise self.refuse(f"reads weights from '{shown(name)}', which its manifest does not list")
