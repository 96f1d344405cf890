"""Load an engine, run it, report. Needs numpy, Pillow and one of onnxruntime or TensorRT; never torch.

    from cinemae.runtime import Detector
    print(Detector.load().detect("photo.jpg"))

Names are imported on first use, so that `import cinemae.runtime` and `cinemae run --help` stay instant.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .core.errors import CinemaeError
    from .core.manifest import Manifest
    from .engines.base import Engine, EngineOutput
    from .engines.load import load_engine
    from .images.source import NamedSource
    from .scoring.detector import Detector
    from .scoring.record import Record, Stats, to_dataframe

_HOME = {
    "CinemaeError": "core.errors",
    "Detector": "scoring.detector",
    "Engine": "engines.base",
    "EngineOutput": "engines.base",
    "Manifest": "core.manifest",
    "NamedSource": "images.source",
    "Record": "scoring.record",
    "Stats": "scoring.record",
    "load_engine": "engines.load",
    "to_dataframe": "scoring.record",
}

__all__ = [
    "CinemaeError",
    "Detector",
    "Engine",
    "EngineOutput",
    "Manifest",
    "NamedSource",
    "Record",
    "Stats",
    "load_engine",
    "to_dataframe",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOME[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME])
