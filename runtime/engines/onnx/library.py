"""The only place that imports onnxruntime, so that its telemetry is off before it loads; and its GPU libraries.

From version 1.29 on, importing onnxruntime writes a device id and a queue of events, which name the engine's file,
below `~/.cache/Microsoft`, and sends them to its maker. Only the environment variable `ORT_DISABLE_TELEMETRY`, set
before the import, stops that: `onnxruntime.disable_telemetry_events()` comes too late.
"""

from __future__ import annotations

import logging
import os
from contextlib import suppress
from typing import Any

from ...core.environment import onnxruntime_for_gpus, pip_install
from ...core.errors import MissingDependencyError
from ..tensorrt.library import import_tensorrt

_log = logging.getLogger(__name__)


def import_onnxruntime() -> Any:
    """Import onnxruntime with its telemetry turned off, in this process and those that it starts.

    Raises:
        MissingDependencyError: onnxruntime is not installed or its installation is broken; names the pip command.
    """
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    try:
        import onnxruntime
    except ImportError as error:
        raise MissingDependencyError(
            f"onnxruntime cannot be imported ({error}): "
            f"{pip_install('cpu')}; for a GPU instead, {onnxruntime_for_gpus()}"
        ) from error
    if not hasattr(onnxruntime, "InferenceSession"):
        raise MissingDependencyError(
            "onnxruntime is installed broken (both its wheels at once?): pip uninstall onnxruntime onnxruntime-gpu, "
            "then install exactly one"
        )
    return onnxruntime


def preload(ort: Any, provider: str) -> None:
    """Load the GPU libraries that a provider needs from the wheels that pip installed, where there are any.

    A library that cannot be loaded is no error here: the provider does not work then, and says so.

    Args:
        ort: onnxruntime; its `preload_dlls` exists from 1.21 on.
        provider: the execution provider to be used.
    """
    if not provider.startswith(("CUDA", "Tensorrt")):
        return
    if hasattr(ort, "preload_dlls"):
        ort.print = lambda *words: _log.debug(" ".join(map(str, words)))  # it prints on stdout, amid the records
        with suppress(Exception):
            ort.preload_dlls()
    if provider.startswith("Tensorrt"):
        with suppress(MissingDependencyError):
            import_tensorrt()  # which loads libnvinfer.so from its wheel
