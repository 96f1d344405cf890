"""What `cinemae-export` does: load the checkpoint, write what was asked for, print the parity table."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from ..runtime.errors import MissingDependencyError, UsageError


@dataclass(frozen=True)
class Request:
    """The command line. checkpoint: None for the last trained one."""

    checkpoint: Path | None
    out: Path
    name: str
    backbone: str | None
    fp16: bool
    parts: bool

    @property
    def precision(self) -> str:
        """fp32 or fp16."""
        return "fp16" if self.fp16 else "fp32"


def require_packages() -> None:
    """Raise MissingDependencyError with the pip line if an optional package is missing."""
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
        import timm  # noqa: F401
        import torch  # noqa: F401
    except ImportError as error:
        raise MissingDependencyError(f"cinemae-export needs {error.name}: pip install 'cinemae[export,cpu]'") from None


def say(text: str) -> None:
    """Progress goes to stderr; stdout holds the parity table alone."""
    print(text, file=sys.stderr, flush=True)


def run(request: Request) -> None:
    """Export.

    Raises:
        UsageError: no checkpoint, or the bundled engine's name.
        ParityError: a file disagrees with eager PyTorch.
        MissingDependencyError: an extra is not installed.
    """
    require_packages()
    from ..train.checkpoint import last_checkpoint, load_checkpoint
    from .artifact import refuse_bundled
    from .fused import export_fused
    from .parity import format_table, parity_table, require
    from .parts import export_parts

    if not request.name or Path(request.name).name != request.name:
        raise UsageError(f"--name {request.name!r} must be a file name without a folder; the folder is --out")
    engine = request.out / f"{request.name}.onnx"
    refuse_bundled(engine)
    folder = request.checkpoint or last_checkpoint()
    say(f"reading {folder}")
    loaded = load_checkpoint(folder, request.backbone)
    candidates = {}
    say(f"writing {engine}")
    export_fused(loaded.detector, loaded.manifest, engine, request.precision)
    candidates[f"fused {request.precision}"] = (engine, request.precision)
    if request.parts:
        parts = request.out / f"{request.name}-parts"
        say(f"writing {parts}/")
        export_parts(loaded.detector, loaded.manifest, parts)
        candidates["parts fp32"] = (parts, "fp32")
    say("comparing with eager PyTorch")
    rows = parity_table(loaded.detector, candidates)
    print(format_table(rows, {name: precision for name, (_, precision) in candidates.items()}))
    require(rows)
