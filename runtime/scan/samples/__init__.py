"""Rendered sample images, for the demo and the server's page. `benchmarks/samples.py` draws them."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path


def sample_paths() -> list[Path]:
    """Paths of the sample images, sorted by name."""
    return sorted(Path(str(files(__package__))).glob("*.jpg"))
