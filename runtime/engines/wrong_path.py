"""Recognise a path of the wrong kind by its names alone, and name the command that takes the path."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Final

ENGINE, CHECKPOINT = "an engine", "a checkpoint"
MADE_BY: Final = {ENGINE: "cinemae-export", CHECKPOINT: "cinemae-train fit"}
CHECKPOINT_FILES = ("manifest.json", "head.safetensors")
WEIGHTS_SUFFIXES = (".pth", ".pt", ".bin", ".safetensors")
WEIGHTS_FILES = ("backbone.safetensors", "model.safetensors", "model.safetensors.index.json", "pytorch_model.bin")


def is_checkpoint(path: Path) -> bool:
    """Whether `path` is a checkpoint's folder."""
    return all((path / name).is_file() for name in CHECKPOINT_FILES)


def what_is(path: Path) -> tuple[str, str] | None:
    """The kind of thing that `path` holds, and the command that takes it; None where the names do not tell."""
    text = shlex.quote(str(path))
    engine, weights = f"cinemae-run PHOTOS --engine {text}", f"cinemae-train extract DATA --backbone {text}"
    if path.is_dir():
        if is_checkpoint(path):
            return CHECKPOINT, f"cinemae-export {text}"
        if (path / "cache.json").is_file() or next(path.glob("*/cache.json"), None):
            return "a feature cache", f"cinemae-train fit --cache {text}"
        if any((path / name).is_file() for name in WEIGHTS_FILES):
            return "a folder of backbone weights", weights
        return (ENGINE, engine) if (path / "encoder.onnx").is_file() else None
    if path.is_file() and is_checkpoint(path.parent) and path.name != WEIGHTS_FILES[0]:
        return f"a file of {CHECKPOINT}", f"cinemae-export {shlex.quote(str(path.parent))}"
    if path.suffix.lower() in (".onnx", ".plan"):
        return ENGINE, engine
    return ("a file of backbone weights", weights) if path.suffix.lower() in WEIGHTS_SUFFIXES else None


def mistaken(path: Path, expected: str) -> str | None:
    """The error for a path that is not `expected` (`ENGINE` or `CHECKPOINT`); None where the names do not tell."""
    found = what_is(path)
    if found is None or found[0] == expected:
        return None
    what, command = found
    maker = MADE_BY[expected]
    rest = "" if command.startswith(maker) else f"; {maker} makes {expected}"
    return f"{path} is {what}, not {expected}: it goes to {command}{rest}"
