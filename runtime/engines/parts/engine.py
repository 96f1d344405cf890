"""Parts backend: encoder, decoder and head as three graphs in onnxruntime, and LCAS (Eq. 4-6) in numpy between them.

Slower than the fused engine. The masks are an argument of `infer`, so that any masks and any K can be tried.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ...core.errors import EngineError, UsageError
from ...core.manifest import Manifest
from ..base import PARTS, Engine, EngineOutput, checked_images
from ..onnx.engine import Ports, check_ports, checked_manifest, run_session
from ..onnx.session import create_session
from .lcas import score_runs

SHARED_FIELDS = ("name", "method", "head", "preprocess", "backbone", "masks", "calibration")
"""Manifest fields that must be equal in the three files; otherwise the files come from different exports."""


class PartsEngine(Engine):
    """Encoder, decoder and head in onnxruntime. `infer` may run in several threads at once."""

    def __init__(self, path: Path, manifest: Manifest, sessions: tuple[Any, Any, Any], notes: tuple[str, ...]) -> None:
        self.path, self.manifest, self.notes = path, manifest, notes
        self._sessions: tuple[Any, Any, Any] | None = sessions
        self.provider: str = sessions[0].get_providers()[0]

    def infer(self, images: np.ndarray, visible: np.ndarray | None = None) -> EngineOutput:
        """See `Engine.infer`.

        Args:
            images: uint8 [B, S, S, 3], RGB.
            visible: int64 [K, V], the visible patches of each run, for any K >= 1; None for the manifest's masks.
        """
        if self._sessions is None:
            raise EngineError(f"{self.path}: the engine is closed")
        encoder, decoder, head = self._sessions
        images = checked_images(images, self.manifest)
        config = self.manifest.backbone.config
        visible = self.manifest.masks.array() if visible is None else _checked_masks(visible, config.n_patches)
        everything = np.arange(config.n_patches, dtype=np.int64)
        full = self._encode(encoder, images, everything)
        reconstructions = []
        for keep in visible:
            tokens = self._encode(encoder, images, keep)
            feeds = {"tokens": tokens, "keep": keep}
            reconstructions.append(run_session(self.path / PARTS[1], decoder, ["reconstruction"], feeds)[0])
        stats, lcas = score_runs(
            images, reconstructions, visible, config.patch_size,
            method=self.manifest.method, preprocess=self.manifest.preprocess,
        )
        stats = stats.astype(np.float32)
        f_global = full[:, 0] if self.manifest.method.f_global == "cls" else full[:, 1:].mean(axis=1)
        feeds = {"cls": np.ascontiguousarray(f_global), "stats": stats}
        logit = run_session(self.path / PARTS[2], head, ["logit"], feeds)[0]
        return EngineOutput(logit, stats, lcas.astype(np.float32))

    def _encode(self, encoder: Any, images: np.ndarray, keep: np.ndarray) -> np.ndarray:
        return run_session(self.path / PARTS[0], encoder, ["tokens"], {"images": images, "keep": keep})[0]

    def close(self) -> None:
        """Release the sessions. A second call does nothing."""
        self._sessions = None


def _checked_masks(visible: np.ndarray, n_patches: int) -> np.ndarray:
    visible = np.asarray(visible)
    if visible.ndim != 2 or not np.issubdtype(visible.dtype, np.integer) or 0 in visible.shape:
        raise UsageError(f"visible patches must be integers [K, V], got {visible.dtype} {list(visible.shape)}")
    if visible.min() < 0 or visible.max() >= n_patches or visible.shape[1] >= n_patches:
        raise UsageError(f"visible patches must lie in [0, {n_patches}) and leave at least one patch masked")
    visible = np.sort(visible.astype(np.int64), axis=1)
    if (np.diff(visible, axis=1) == 0).any():
        raise UsageError("a run lists the same visible patch twice")
    return visible


def open_engine(path: Path, device: str, threads: int | None) -> PartsEngine:
    """Check and load a folder of `PARTS`, as `load.load_engine`; parts of different exports are refused."""
    files = [path / name for name in PARTS]
    for file in files:
        if not file.is_file():
            raise EngineError(f"{path}: {file.name} is missing; an engine in parts has {', '.join(PARTS)}")
    manifests = [checked_manifest(file, file.stem) for file in files]
    for file, manifest in zip(files[1:], manifests[1:], strict=True):
        differing = [name for name in SHARED_FIELDS if getattr(manifest, name) != getattr(manifests[0], name)]
        if differing:
            raise EngineError(f"{file}: comes from another export than {PARTS[0]} ({', '.join(differing)} differ)")
    opened = [create_session(file, device, threads) for file in files]
    sessions = (opened[0].session, opened[1].session, opened[2].session)
    _check_signatures(files, sessions, manifests[0])
    notes = tuple(dict.fromkeys(note for one in opened for note in one.notes))
    return PartsEngine(path, manifests[0], sessions, notes)


def _check_signatures(files: list[Path], sessions: tuple[Any, Any, Any], manifest: Manifest) -> None:
    config, size, real = manifest.backbone.config, manifest.preprocess.crop, "tensor(float)"
    keep: Ports = {"keep": ("tensor(int64)", (None,))}
    images: Ports = {"images": ("tensor(uint8)", (None, size, size, 3))}
    tokens: Ports = {"tokens": (real, (None, None, config.encoder_dim))}
    pixels: Ports = {"reconstruction": (real, (None, config.n_patches, config.patch_values))}
    features: Ports = {"cls": (real, (None, config.encoder_dim)), "stats": (real, (None, 3))}
    check_ports(files[0], sessions[0], {**images, **keep}, tokens)
    check_ports(files[1], sessions[1], {**tokens, **keep}, pixels)
    check_ports(files[2], sessions[2], features, {"logit": (real, (None,))})
