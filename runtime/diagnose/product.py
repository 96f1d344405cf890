"""One product of ViT-L in float32 and in 8 bits: what `--int8` can gain on this CPU."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Callable
from functools import partial

import numpy as np

from ..core.errors import MissingDependencyError
from ..engines.onnx.library import import_onnxruntime
from ..engines.onnx.saturation import OPTION, saturates

ROWS, INNER, COLUMNS = 788, 1024, 4096
"""Four images of 197 tokens, the first product of a ViT-L MLP."""
EXACT = INNER * 255 * 127
GRAPHS = {
    "fp32": "CAg6hwEKMgoBcxIBYiIPQ29uc3RhbnRPZlNoYXBlKhkKBXZhbHVlKg0IARABIgQAAP5CQgF2oAEEChEKAWEKAWISAXkiBk1hdE11bBIB"
    "ZyoNCAIQBzoEgAiAIEIBc1oVCgFhEhAKDggBEgoKAwiUBgoDCIAIYhUKAXkSEAoOCAESCgoDCJQGCgMIgCBCBAoAEBE=",
    "int8": "CAg6iwEKLwoBcxIBYiIPQ29uc3RhbnRPZlNoYXBlKhYKBXZhbHVlKgoIARADKgF/QgF2oAEEChgKAWEKAWISAXkiDU1hdE11bEludGVn"
    "ZXISAWcqDQgCEAc6BIAIgCBCAXNaFQoBYRIQCg4IAhIKCgMIlAYKAwiACGIVCgF5EhAKDggGEgoKAwiUBgoDCIAgQgQKABAR",
}
"""MatMul of float32, MatMulInteger of uint8 by int8, all weights 127; ONNX opset 17. `test_product.py` makes them."""


def products(threads: int) -> dict[str, Callable[[], list[np.ndarray]]]:
    """The product by precision, as engines run it here; empty without onnxruntime. Each value of a result is EXACT."""
    try:
        ort = import_onnxruntime()
    except MissingDependencyError:
        return {}
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    if saturates(ort):
        options.add_session_config_entry(*OPTION)
    calls: dict[str, Callable[[], list[np.ndarray]]] = {}
    for precision, graph in GRAPHS.items():
        session = ort.InferenceSession(b64decode(graph), options, providers=["CPUExecutionProvider"])
        given = {"a": np.full((ROWS, INNER), 255, np.float32 if precision == "fp32" else np.uint8)}
        calls[precision] = partial(session.run, None, given)
    return calls
