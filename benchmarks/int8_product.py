"""One uint8 by int8 product of ViT-L with and without onnxruntime's exact kernel: python benchmarks/int8_product.py

1576 x 1024 by 1024 x 4096, eight images, as MatMulIntegerToFloat; float32 beside it. Each pair is timed in turn. Prints
a Markdown row with the CPU's flags, the version, and whether the runtime takes the exact kernel here.
"""

from __future__ import annotations

import statistics
import time
from typing import Any

import numpy as np
from cinemae.runtime.core.environment import cpu_features
from cinemae.runtime.engines.onnx.library import import_onnxruntime
from cinemae.runtime.engines.onnx.saturation import OPTION, saturates
from onnx import TensorProto, helper, numpy_helper

ROWS, INNER, COLUMNS, ROUNDS = 1576, 1024, 4096, 15


def model(kind: str) -> bytes:
    """A graph of one product."""
    rng = np.random.default_rng(0)
    weight = rng.integers(-127, 128, (INNER, COLUMNS))
    if kind == "float32":
        constants = [numpy_helper.from_array(weight.astype(np.float32), "b")]
        node, given = helper.make_node("MatMul", ["a", "b"], ["y"]), TensorProto.FLOAT
    else:
        constants = [numpy_helper.from_array(weight.astype(np.int8), "b")]
        constants += [helper.make_tensor(name, TensorProto.FLOAT, [], [1.0]) for name in ("sa", "sb")]
        constants += [helper.make_tensor("za", TensorProto.UINT8, [], [128])]
        node = helper.make_node("MatMulIntegerToFloat", ["a", "b", "sa", "sb", "za"], ["y"], domain="com.microsoft")
        given = TensorProto.UINT8
    graph = helper.make_graph(
        [node], "g", [helper.make_tensor_value_info("a", given, [ROWS, INNER])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [ROWS, COLUMNS])], constants)
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8).SerializeToString()


def session(onnxruntime: Any, kind: str) -> Any:
    """A session on two threads."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = 2, 1
    if kind == "uint8, exact kernel":
        options.add_session_config_entry(*OPTION)
    return onnxruntime.InferenceSession(model(kind), options, providers=["CPUExecutionProvider"])


def main() -> None:
    """Time, print."""
    onnxruntime = import_onnxruntime()
    values = np.random.default_rng(1).integers(0, 256, (ROWS, INNER))
    kinds = ("float32", "uint8", "uint8, exact kernel")
    sessions = {kind: session(onnxruntime, kind) for kind in kinds}
    seconds: dict[str, list[float]] = {kind: [] for kind in kinds}
    for _ in range(ROUNDS):
        for kind in kinds:
            given = values.astype(np.float32 if kind == "float32" else np.uint8)
            started = time.perf_counter()
            sessions[kind].run(None, {"a": given})
            seconds[kind].append(time.perf_counter() - started)
    plain = statistics.median(seconds["float32"])
    cells = [f"{1000 * statistics.median(seconds[kind]):.1f} ms ({statistics.median(seconds[kind]) / plain:.2f})"
             for kind in kinds]
    print(f"| CPU | onnxruntime | {' | '.join(kinds)} | saturates, so the runtime takes the exact kernel |")
    print("|---|---|---|---|---|---|")
    answer = "yes" if saturates(onnxruntime) else "no"
    print("| " + " | ".join([" ".join(cpu_features()), onnxruntime.__version__, *cells, answer]) + " |")


if __name__ == "__main__":
    main()
