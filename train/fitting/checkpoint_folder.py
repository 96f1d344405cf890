"""What a checkpoint folder holds besides its tensors: names, manifest, metrics, and which was fitted last. No torch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ...runtime.core.errors import UsageError
from ...runtime.core.files import write_text
from ...runtime.core.manifest import Manifest
from ...runtime.engines.wrong_path import CHECKPOINT, mistaken

HEAD_FILE, LAST_FILE, SCORES_FILE = "head.safetensors", "last.safetensors", "scores.safetensors"
MANIFEST_FILE, METRICS_FILE = "manifest.json", "metrics.json"
EVAL_FOLDER = "eval"
"""What `eval` writes on images as they are goes here, inside the checkpoint."""
LAST_POINTER = Path("runs") / "last"


def read_manifest(folder: str | Path) -> Manifest:
    """Read the manifest of a checkpoint folder.

    Raises:
        UsageError: `folder` is no checkpoint.
        ManifestError: the manifest is damaged.
    """
    path = Path(folder) / MANIFEST_FILE
    try:
        text = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        why = f"{folder} is no checkpoint (no {MANIFEST_FILE} in it); make one with: cinemae-train fit"
        raise UsageError(mistaken(Path(folder), CHECKPOINT) or why) from None
    return Manifest.from_json(text, path)


def update_checkpoint(folder: Path, manifest: Manifest, metrics: dict[str, Any]) -> None:
    """Replace the manifest and merge `metrics` into metrics.json, as `calibrate` and `eval` do."""
    write_text(folder / METRICS_FILE, json.dumps({**read_metrics(folder), **metrics}, indent=1))
    write_text(folder / MANIFEST_FILE, manifest.to_json(indent=1))


def read_metrics(folder: Path) -> dict[str, Any]:
    """Read metrics.json; {} where there is none."""
    path = folder / METRICS_FILE
    found: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    return found


def refuse_foreign(folder: Path) -> None:
    """Raise UsageError if `folder` exists and is neither empty nor a checkpoint: nothing else is ever replaced."""
    if folder.exists() and not (folder / MANIFEST_FILE).exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"{folder} exists and is no checkpoint; choose another --out")


def remember_checkpoint(folder: Path, pointer: Path = LAST_POINTER) -> None:
    """Record `folder` as the checkpoint fitted last, in runs/last of the current folder."""
    write_text(pointer, f"{folder.resolve()}\n")


def last_checkpoint(pointer: Path = LAST_POINTER) -> Path:
    """Find the checkpoint that was fitted last from the current folder.

    Raises:
        UsageError: none was fitted here, or its folder is gone.
    """
    if not pointer.exists():
        raise UsageError(f"no checkpoint given, and none was fitted here ({pointer} is missing); name its folder")
    folder = Path(pointer.read_text().strip())
    if not (folder / MANIFEST_FILE).exists():
        raise UsageError(f"the checkpoint fitted last, {folder}, is gone; name another folder")
    return folder
