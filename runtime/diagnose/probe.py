"""Try in a process of its own whether an onnxruntime provider computes and whether a package can be imported.

A listed provider need not work: its libraries load only when a session is made, and a broken driver can crash the
process. `probe` therefore starts `python -m cinemae.runtime.diagnose.probe NAME` and reads its answer.
"""

from __future__ import annotations

import base64
import json
import re
import subprocess
import sys

from ..core.text import first_line, last_line
from ..engines.onnx.library import import_onnxruntime, preload

ADD_ONNX = "CAg6NQoOCgF4CgF4EgF5IgNBZGQSAWdaDwoBeBIKCggIARIECgIIAmIPCgF5EgoKCAgBEgQKAggCQgQKABAR"
"""The graph y = x + x over two floats, opset 17, 63 bytes of ONNX in base64."""
PROBE_SECONDS = 120.0
"""Time limit: the first CUDA context on a machine can take tens of seconds, a hung driver never answers."""

_MISSING = re.compile(r"with error: ([^\n\x1b]+)")
"""The library that a provider lacks, as onnxruntime's log names it."""


def probe(provider: str, timeout: float = PROBE_SECONDS) -> str:
    """Test a provider in a new process.

    Returns:
        One line that says why the provider does not work; "" if the provider itself computed the right numbers.
    """
    try:
        done = _python(timeout, "-m", __name__, provider)
        trouble = str(json.loads(done.stdout.strip().splitlines()[-1]))
    except subprocess.TimeoutExpired:
        return f"did not answer within {timeout:.0f} s"
    except (IndexError, ValueError):
        return f"the test process ended with {done.returncode}: {last_line(done.stderr)}"
    missing = _MISSING.search(done.stderr)
    return f"{trouble}: {missing[1].strip()[:120]}" if missing and trouble else trouble


def imported(code: str) -> str:
    """The version of a package, which `code` imports and prints in a new process.

    Raises:
        ModuleNotFoundError: the package is not installed.
        ImportError: the package is installed but does not load.
    """
    try:
        done = _python(PROBE_SECONDS, "-c", code)
    except subprocess.TimeoutExpired:
        raise ImportError("no answer within two minutes") from None
    if done.returncode == 0:
        return done.stdout.strip()
    last = last_line(done.stderr or f"exit {done.returncode}")
    raise (ModuleNotFoundError if last.startswith("ModuleNotFoundError") else ImportError)(last)


def _python(timeout: float, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *arguments]
    return subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=timeout, check=False)


def run_here(provider: str) -> str:
    """Test a provider in this process; returns as `probe`."""
    import numpy as np

    ort = import_onnxruntime()
    preload(ort, provider)
    options = ort.SessionOptions()
    options.log_severity_level = 4
    try:
        session = ort.InferenceSession(base64.b64decode(ADD_ONNX), options, providers=[provider], enable_fallback=0)
        used = session.get_providers()[0]
        if used != provider:
            return f"onnxruntime fell back to {used}, its libraries do not load"
        (result,) = session.run(None, {"x": np.array([1.5, -2.0], np.float32)})
    except Exception as error:  # whatever a provider raises, it does not work
        return first_line(error)
    return "" if result.tolist() == [3.0, -4.0] else f"gives wrong numbers: {result.tolist()}"


if __name__ == "__main__":
    print(json.dumps(run_here(sys.argv[1])))
