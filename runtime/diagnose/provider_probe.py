"""Whether an onnxruntime provider really runs: a tiny graph in a process of its own.

Listing a provider proves nothing: its libraries load only when a session is made, and a broken driver can take the
process down with it. Hence `python -m cinemae.runtime.diagnose.provider_probe NAME`, and `probe`, which starts that.
"""

from __future__ import annotations

import base64
import json
import re
import subprocess
import sys
from dataclasses import dataclass

ADD_ONNX = "CAg6NQoOCgF4CgF4EgF5IgNBZGQSAWdaDwoBeBIKCggIARIECgIIAmIPCgF5EgoKCAgBEgQKAggCQgQKABAR"
"""y = x + x over two floats, opset 17: 63 bytes of ONNX."""
PROBE_SECONDS = 120.0
"""The first CUDA context on a cold machine takes tens of seconds; a hung driver takes for ever."""

_MISSING = re.compile(r"with error: ([^\n\x1b]+)")
"""How onnxruntime's log names the library that a provider lacks."""


@dataclass(frozen=True)
class ProbeResult:
    """usable: the provider itself computed the right numbers. detail: why not, one line."""

    provider: str
    usable: bool
    detail: str = ""


def probe(provider: str, timeout: float = PROBE_SECONDS) -> ProbeResult:
    """Try `provider` in a fresh interpreter; never raises for a provider that does not work."""
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
        message = (done.stderr.strip().splitlines() or ["no message"])[-1]
        return ProbeResult(provider, False, f"the test process ended with {done.returncode}: {message[:200]}")


def run_here(provider: str) -> ProbeResult:
    """The probe itself, in this process."""
    import numpy as np
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.log_severity_level = 4
    try:
        session = ort.InferenceSession(base64.b64decode(ADD_ONNX), options, providers=[provider])
        used = session.get_providers()[0]
        if used != provider:
            return ProbeResult(provider, False, f"onnxruntime fell back to {used}, its libraries do not load")
        (result,) = session.run(None, {"x": np.array([1.5, -2.0], np.float32)})
    except Exception as error:  # whatever a provider raises, it does not work
        return ProbeResult(provider, False, (str(error).strip().splitlines() or [type(error).__name__])[0][:200])
    right = bool((result == np.array([3.0, -4.0], np.float32)).all())
    return ProbeResult(provider, right, "" if right else f"gives wrong numbers: {result.tolist()}")


if __name__ == "__main__":
    found = run_here(sys.argv[1])
    print(json.dumps({"usable": found.usable, "detail": found.detail}))
