"""Test whether an onnxruntime provider works, with a tiny graph in a process of its own.

A listed provider need not work: its libraries load only when a session is made, and a broken driver can crash the
process. `probe` therefore starts `python -m cinemae.runtime.diagnose.provider_probe NAME` and reads its answer.
"""

from __future__ import annotations

import base64
import json
import re
import subprocess
import sys
from dataclasses import dataclass

from ..core.text import first_line, last_line
from ..engines.onnx.library import import_onnxruntime, preload

ADD_ONNX = "CAg6NQoOCgF4CgF4EgF5IgNBZGQSAWdaDwoBeBIKCggIARIECgIIAmIPCgF5EgoKCAgBEgQKAggCQgQKABAR"
"""The graph y = x + x over two floats, opset 17, 63 bytes of ONNX in base64."""
PROBE_SECONDS = 120.0
"""Time limit: the first CUDA context on a machine can take tens of seconds, a hung driver never answers."""

_MISSING = re.compile(r"with error: ([^\n\x1b]+)")
"""The library that a provider lacks, as onnxruntime's log names it."""


@dataclass(frozen=True)
class ProbeResult:
    """The answer of a probe.

    Attributes:
        provider: its name.
        usable: whether the provider itself computed the right numbers.
        detail: one line that says why it did not.
    """

    provider: str
    usable: bool
    detail: str = ""


def probe(provider: str, timeout: float = PROBE_SECONDS) -> ProbeResult:
    """Test a provider in a new process; one that fails, hangs or crashes gives a result, not an exception."""
    command = [sys.executable, "-m", __name__, provider]
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=timeout, check=False)
    except subprocess.TimeoutExpired:
        return ProbeResult(provider, False, f"did not answer within {timeout:.0f} s")
    lines = done.stdout.strip().splitlines()
    try:
        answer = json.loads(lines[-1])
        missing = _MISSING.search(done.stderr)
        detail = f"{answer['detail']}: {missing[1].strip()[:120]}" if missing and answer["detail"] else answer["detail"]
        return ProbeResult(provider, bool(answer["usable"]), str(detail))
    except (IndexError, ValueError, KeyError, TypeError):
        message = last_line(done.stderr)
        return ProbeResult(provider, False, f"the test process ended with {done.returncode}: {message}")


def run_here(provider: str) -> ProbeResult:
    """Test a provider in this process."""
    import numpy as np

    ort = import_onnxruntime()
    preload(ort, provider)
    options = ort.SessionOptions()
    options.log_severity_level = 4
    try:
        session = ort.InferenceSession(base64.b64decode(ADD_ONNX), options, providers=[provider], enable_fallback=0)
        used = session.get_providers()[0]
        if used != provider:
            return ProbeResult(provider, False, f"onnxruntime fell back to {used}, its libraries do not load")
        (result,) = session.run(None, {"x": np.array([1.5, -2.0], np.float32)})
    except Exception as error:  # whatever a provider raises, it does not work
        return ProbeResult(provider, False, first_line(error))
    right = bool((result == np.array([3.0, -4.0], np.float32)).all())
    return ProbeResult(provider, right, "" if right else f"gives wrong numbers: {result.tolist()}")


if __name__ == "__main__":
    result = run_here(sys.argv[1])
    print(json.dumps({"usable": result.usable, "detail": result.detail}))
