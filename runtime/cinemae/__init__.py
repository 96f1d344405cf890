"""Detect AI-generated images by contextual anomaly.

Examples:
    >>> from cinemae import Detector
    >>> record = Detector.load().detect("photo.jpg")
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cinemae.runtime import Detector

__all__ = ["Detector", "__version__"]


def __getattr__(name: str) -> Any:
    """`Detector` and `__version__` on first use, so that `import cinemae` costs nothing."""
    if name == "Detector":
        return import_module("cinemae.runtime").Detector
    if name == "__version__":
        from importlib.metadata import version

        return version("cinemae")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
