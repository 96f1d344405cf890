"""Names that the files of an export may have."""

from __future__ import annotations

from pathlib import Path

from ..runtime.core.errors import UsageError
from ..runtime.engines.load import BUNDLED_NAME


def refuse_bundled(path: str | Path) -> None:
    """Raise UsageError if `path` is named like the bundled engine: an export never overwrites it."""
    if Path(path).name == BUNDLED_NAME:
        raise UsageError(f"{path}: that name belongs to the bundled engine; export under another name")


def check_names(name: str | None, out: Path) -> None:
    """Raise UsageError for a `--name` with a folder, and an `--out` that is no folder."""
    if name is not None and (not name or Path(name).name != name):
        raise UsageError(f"--name {name!r} must be a file name without a folder; the folder is --out")
    if out.suffix in (".onnx", ".plan"):
        raise UsageError(f"--out {out} is the folder to write to; name the file with --name {out.stem}")
