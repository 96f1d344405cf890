"""Whether onnxruntime's 8-bit products saturate on this CPU: a tiny product with a known result tells.

x86 without VNNI adds pairs of uint8 by int8 products in 16 bits, which saturate. onnxruntime has an exact kernel for
such CPUs, behind `session.x64quantprecision`; where the CPU has VNNI or AMX, that kernel is several times slower.
"""

from __future__ import annotations

from base64 import b64decode
from functools import cache
from typing import Any

import numpy as np

OPTION = ("session.x64quantprecision", "1")
LENGTH = 64
EXACT = LENGTH * 255 * 127
PRODUCT = b64decode(
    "CAg6owEKLwoBcxIBYiIPQ29uc3RhbnRPZlNoYXBlKhYKBXZhbHVlKgoIARADKgF/QgF2oAEECiAKAWEKAWIKAnphCgJ6YhIBeSIN"
    "TWF0TXVsSW50ZWdlchIBZyoJEAIqAQBCAnphKgkQAyoBAEICemIqCwgCEAc6AkAQQgFzWhMKAWESDgoMCAISCAoCCAEKAghAYhMK"
    "AXkSDgoMCAYSCAoCCAEKAggQQgQKABAR"
)
"""MatMulInteger of uint8 [1, 64] by int8 [64, 16], all 127, zero points 0; ONNX opset 17.
`tests/runtime/engines/onnx/test_saturation.py` makes it."""


@cache
def saturates(ort: Any) -> bool:
    """Whether the product of the largest values is wrong without the option. Takes about a millisecond, once."""
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(PRODUCT, options, providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"a": np.full((1, LENGTH), 255, np.uint8)})
    return bool((found != EXACT).any())
