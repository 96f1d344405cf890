"""A path given where another kind of thing is expected: what it is by its names, and the command that takes it."""

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
    """What a path holds and the command that takes it, judged by names alone; None where they do not tell."""
    text, weights = shlex.quote(str(path)), ("backbone weights", "cinemae-train extract DATA --backbone")
    if path.is_dir():
        if is_checkpoint(path):
            return CHECKPOINT, f"cinemae-export {text}"
        if (path / "cache.json").is_file() or next(path.glob("*/cache.json"), None):
            return "a feature cache", f"cinemae-train fit --cache {text}"
        if any((path / name).is_file() for name in WEIGHTS_FILES):
            return f"a folder of {weights[0]}", f"{weights[1]} {text}"
        return (ENGINE, f"cinemae-run PHOTOS --engine {text}") if (path / "encoder.onnx").is_file() else None
    if path.is_file() and is_checkpoint(path.parent) and path.name != WEIGHTS_FILES[0]:
        return f"a file of {CHECKPOINT}", f"cinemae-export {shlex.quote(str(path.parent))}"
    suffix = path.suffix.lower()
    if suffix in (".onnx", ".plan"):
        return ENGINE, f"cinemae-run PHOTOS --engine {text}"
    return (f"a file of {weights[0]}", f"{weights[1]} {text}") if suffix in WEIGHTS_SUFFIXES else None


def mistaken(path: Path, expected: str) -> str | None:
    """The error's sentence for a path that is not `expected`; None where nobody can tell what it is.

    Args:
        path: that exists.
        expected: `ENGINE` or `CHECKPOINT`.
    """
    found = what_is(path)
    if found is None or found[0] == expected:
        return None
    what, command = found
    maker = MADE_BY[expected]
    rest = "" if command.startswith(maker) else f"; {maker} makes {expected}"
    return f"{path} is {what}, not {expected}: it goes to {command}{rest}"
