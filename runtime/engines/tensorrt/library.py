"""TensorRT's Python module, and a logger that keeps its words instead of printing them on stdout."""

from __future__ import annotations

import sys
from collections import deque
from typing import Any, Literal

from ...core.environment import install_tensorrt
from ...core.errors import MissingDependencyError
from ...core.text import first_line, printable

HardwareCompatibility = Literal["none", "same_compute_capability", "ampere_plus"]
"""Which GPUs a plan runs on, besides those of the kind it was built on."""

KEPT_LINES = 3


def import_tensorrt() -> Any:
    """Import TensorRT.

    Raises:
        MissingDependencyError: TensorRT is not installed or its libraries do not load; names the pip command.
    """
    try:
        import tensorrt
    except Exception as error:  # a missing library raises errors of many types
        raise MissingDependencyError(f"TensorRT cannot be imported ({error}): {install_tensorrt()}") from None
    return tensorrt


def collecting_logger(trt: Any) -> Any:
    """A TensorRT logger that keeps the last errors in `.lines` and prints them on stderr.

    TensorRT's own `Logger` prints on stdout (`DefaultLogger::log` in python/src/infer/pyCore.cpp, 8.6 to 11.1), in
    the middle of the records.
    """

    class Collecting(trt.ILogger):
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.lines: deque[str] = deque(maxlen=KEPT_LINES)

        def log(self, severity: Any, message: str) -> None:
            if int(severity) <= int(trt.ILogger.Severity.ERROR):
                self.lines.append(message.strip())
                print(printable(f"TensorRT: {message.strip()}"), file=sys.stderr, flush=True)

    return Collecting()


def reason(logger: Any, error: Exception | None = None) -> str:
    """TensorRT's last error lines, which are then forgotten, or the exception's first line."""
    lines = list(logger.lines) or [first_line(error) if error else "no reason given"]
    logger.lines.clear()
    return printable("; ".join(lines)[:600])


def is_out_of_memory(words: str) -> bool:
    """Whether an error of TensorRT is about memory: "out of memory", "OutOfMemory", "could not be allocated"."""
    lowered = words.lower()
    return "memory" in lowered or "allocat" in lowered
