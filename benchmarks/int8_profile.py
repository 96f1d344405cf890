"""Where the time of an INT8 engine goes: by kind of work, and in the first, middle and last blocks.

    OMP_NUM_THREADS=2 python benchmarks/int8_profile.py ENGINE.onnx [--runs 9] [--batch 1]

Medians over the runs of each node's time as onnxruntime's profiler gives it. A block begins at its first integer
product (its first LayerNorm and the rounding of that count for the block before) and ends where the next one begins.
"""

from __future__ import annotations

import argparse
import json
import re
import tempfile
from collections import defaultdict
from collections.abc import Collection
from pathlib import Path

import numpy as np
from vit_l import THREADS, cpu_session

PRODUCT = re.compile(r"((?:en|de)coder)\.blocks\.(\d+)\.(\w+)\.int8")

WORK = {
    "MultiHeadAttention": "attention", "MatMul": "attention", "Softmax": "attention", "Transpose": "attention",
    "FastGelu": "GELU", "Gelu": "GELU", "Erf": "GELU", "QuantizeLinear": "rounding to uint8",
    "LayerNormalization": "LayerNorm", "Add": "residual sums", "Split": "slices, joins", "Slice": "slices, joins",
    "Concat": "slices, joins", "Gather": "slices, joins", "Reshape": "slices, joins",
}
"""Kind of work of an operator between the products; operators not listed are "rest"."""

LEAVES = {"q": "products q, k, v", "k": "products q, k, v", "v": "products q, k, v"}


def node_times(engine: Path, runs: int, batch: int) -> list[tuple[str, str, float]]:
    """Name, operator and median milliseconds of every node, in the order in which they run."""
    with tempfile.TemporaryDirectory() as folder:
        session = cpu_session(engine, Path(folder) / "profile")
        size = session.get_inputs()[0].shape[1]
        images = np.random.default_rng(0).integers(0, 256, (batch, size, size, 3), dtype=np.uint8)
        for _ in range(runs + 1):
            session.run(None, {"images": images})
        events = json.loads(Path(session.end_profiling()).read_text())
    times: dict[tuple[str, str], list[float]] = defaultdict(list)
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith("_kernel_time"):
            times[event["name"].removesuffix("_kernel_time"), event["args"]["op_name"]].append(event["dur"] / 1000)
    return [(name, operator, float(np.median(found[1:]))) for (name, operator), found in times.items()]


Times = defaultdict[str, float]
"""Kind of work -> milliseconds."""


def by_block(nodes: list[tuple[str, str, float]]) -> dict[str, Times]:
    """Block, in order of execution -> kind of work -> milliseconds; what precedes and follows the blocks is "else"."""
    found: dict[str, Times] = defaultdict(lambda: defaultdict(float))
    block = "else"
    last = max(at for at, (name, _, _) in enumerate(nodes) if PRODUCT.fullmatch(name))
    for at, (name, operator, taken) in enumerate(nodes):
        match = PRODUCT.fullmatch(name)
        if at > last + 1:  # that one is the last residual sum
            block = "else"
        if match:
            block, kind = f"{match[1]} {match[2]}", LEAVES.get(match[3], f"product {match[3]}")
        elif operator == "MatMulIntegerToFloat":
            block, kind = "else", "products outside"
        else:
            kind = "rest" if block == "else" else WORK.get(operator, "rest")
        found[block][kind] += taken
    return found


def mean(blocks: Collection[Times], count: int) -> Times:
    """The sum of all blocks over `count`."""
    found: Times = defaultdict(float)
    for times in blocks:
        for kind, taken in times.items():
            found[kind] += taken / count
    return found


def columns(blocks: dict[str, Times]) -> dict[str, Times]:
    """Heading -> kind of work -> milliseconds: the sum, then first, middle (mean) and last block of each half."""
    found = {"all": mean(blocks.values(), 1)}
    for half in ("encoder", "decoder"):
        inside = [times for name, times in blocks.items() if name.startswith(half)]
        found[f"{half}, first"] = inside[0]
        found[f"{half}, middle"] = mean(inside[1:-1], len(inside) - 2)
        found[f"{half}, last"] = inside[-1]
    found["outside"] = blocks["else"]
    return found


def table(found: dict[str, Times]) -> list[str]:
    """Rows of Markdown, products first, then by time."""
    total = sum(found["all"].values())
    lines = ["| ms | share | " + " | ".join(found) + " |", "|---|---|" + "---|" * len(found)]
    for kind, taken in sorted(found["all"].items(), key=lambda item: (not item[0].startswith("product"), -item[1])):
        cells = " | ".join(f"{column[kind]:.2f}" for column in found.values())
        lines.append(f"| {kind} | {taken / total:.1%} | {cells} |")
    cells = " | ".join(f"{sum(column.values()):.1f}" for column in found.values())
    return [*lines, f"| sum | 100% | {cells} |"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("engine", type=Path)
    parser.add_argument("--runs", type=int, default=9)
    parser.add_argument("--batch", type=int, default=1)
    arguments = parser.parse_args()
    blocks = by_block(node_times(arguments.engine, arguments.runs, arguments.batch))
    print(f"{THREADS} threads, batch {arguments.batch}, medians of {arguments.runs} runs.\n")
    print("\n".join(table(columns(blocks))))


if __name__ == "__main__":
    main()
