"""Rendered sample images, for the server's page and for `cinemae run --demo`. `benchmarks/samples.py` draws them."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

from ...core.errors import UsageError

REPORT = "cinemae-demo.html"


def sample_paths() -> list[Path]:
    """Paths of the sample images, sorted by name."""
    return sorted(Path(str(files(__package__))).glob("*.jpg"))


def demo_inputs(inputs: Sequence[str], report: Path | None) -> tuple[list[str], Path]:
    """The inputs and the report of a demonstration.

    Args:
        inputs: of the command line.
        report: of the command line; None for `REPORT` in the working folder, or in a new temporary one if that one
            cannot be written.

    Raises:
        UsageError: there are inputs too.
    """
    if inputs:
        raise UsageError("--demo scores its own sample images: leave out --demo, or the inputs")
    if report is None:
        folder = "" if os.access(".", os.W_OK | os.X_OK) else tempfile.mkdtemp(prefix="cinemae-demo-")
        report = Path(folder, REPORT)
    return [str(path) for path in sample_paths()], report
