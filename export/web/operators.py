"""Whether onnxruntime-web has every operator of an engine; asked at export, so that no visitor's browser finds out.

The list, `operators.txt`, is for WebAssembly. WebGPU knows fewer; onnxruntime runs the others on the CPU by itself.
"""

from __future__ import annotations

from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from ...runtime.core.environment import require
from ...runtime.core.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from onnx import GraphProto

DEFAULT_DOMAIN = "ai.onnx"
LATEST_OPSET = 26
"""Opset of the default domain from which onnxruntime-web refuses a model unread."""


@lru_cache(maxsize=1)
def kernels() -> dict[tuple[str, str], tuple[tuple[int, int | None], ...]]:
    """(domain, operator) -> (first version, last or None) of each kernel."""
    table = {}
    for line in (files(__package__) / "operators.txt").read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            domain, name, *ranges = line.split()
            pairs = (span.split("-") for span in ranges)
            table[domain, name] = tuple((int(first), int(last) if last else None) for first, last in pairs)
    return table


def has_kernel(domain: str, name: str, version: int) -> bool:
    """Whether a kernel takes the operator as defined in `version`; an open range takes no later definition."""
    spans = kernels().get((domain or DEFAULT_DOMAIN, name), ())
    return any(version == first or (last is not None and first < version <= last) for first, last in spans)


def unsupported(graph: GraphProto, opsets: dict[str, int]) -> set[str]:
    """Operators of a graph and its subgraphs that have no kernel, as `Name (domain, opset N)`."""
    from onnx.defs import SchemaError, get_schema

    missing = set()
    for domain, name in _operators(graph):
        opset = opsets.get(domain, 1)
        try:
            version = get_schema(name, opset, domain).since_version
        except SchemaError:
            version = opset  # not an operator of ONNX itself
        if not has_kernel(domain, name, version):
            missing.add(f"{name} ({domain or DEFAULT_DOMAIN}, opset {opset})")
    return missing


def _operators(graph: GraphProto) -> Iterator[tuple[str, str]]:
    for node in graph.node:
        yield ("" if node.domain == DEFAULT_DOMAIN else node.domain), node.op_type
        for attribute in node.attribute:
            for inner in (*attribute.graphs, *([attribute.g] if attribute.HasField("g") else [])):
                yield from _operators(inner)


def check_operators(engine: Path) -> None:
    """Raise EngineError that names what onnxruntime-web cannot run in `engine`.

    Raises:
        MissingDependencyError: the onnx package is not installed.
    """
    require("--web", "export", "onnx")
    import onnx

    model = onnx.load(str(engine), load_external_data=False)
    opsets = {"" if entry.domain == DEFAULT_DOMAIN else entry.domain: entry.version for entry in model.opset_import}
    if opsets.get("", 0) > LATEST_OPSET:
        raise EngineError(f"{engine}: its opset {opsets['']} is above {LATEST_OPSET}, the latest of onnxruntime-web")
    missing = sorted(unsupported(model.graph, opsets))
    if missing:
        raise EngineError(f"{engine}: onnxruntime-web cannot run {', '.join(missing)}; export it in another precision")
