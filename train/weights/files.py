"""Read the files of backbone weights that `locate` found. No code that a file holds is run."""

from __future__ import annotations

import argparse
import hashlib
import re
import struct
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from ...runtime.core.errors import WeightsError
from ...runtime.core.files import file_sha256
from .locate import WeightsFiles

BACKBONE_KEY, LICENCE_KEY = "cinemae.backbone", "cinemae.licence"
"""Metadata keys of our own weights files: the backbone's configuration as JSON, and the licence of the weights."""

SAFETENSORS, TORCH_ZIP, TORCH_LEGACY = "safetensors", "zip", "pickle"
@dataclass(frozen=True)
class RawWeights:
    """Weights as the files hold them.

    Attributes:
        tensors: by the files' own keys.
        metadata: of the safetensors file, or the training arguments in a FAIR checkpoint.
    """

    tensors: dict[str, Tensor]
    metadata: dict[str, Any] = field(default_factory=dict)


def sha256(files: tuple[Path, ...]) -> str:
    """Hex SHA-256 of one file's bytes; of several shards, that of their sorted hex digests joined without separator."""
    digests = [file_sha256(file) for file in files]
    return digests[0] if len(digests) == 1 else hashlib.sha256("".join(sorted(digests)).encode()).hexdigest()


def kind_of(path: Path) -> str:
    """Recognise a file's format by its first bytes.

    Returns:
        SAFETENSORS, TORCH_ZIP or TORCH_LEGACY.

    Raises:
        WeightsError: another format.
    """
    with path.open("rb") as stream:
        start = stream.read(9)
    if start[:2] == b"PK":
        return TORCH_ZIP
    if len(start) == 9 and start[8:] == b"{" and struct.unpack("<Q", start[:8])[0] <= path.stat().st_size:
        return SAFETENSORS
    if start[:1] == b"\x80":
        return TORCH_LEGACY
    raise WeightsError(
        f"{path}: is neither a PyTorch nor a safetensors file (empty, truncated or another kind); download it again"
    )


def read(files: WeightsFiles) -> RawWeights:
    """Read all tensors of a source without running any code a file may hold.

    Raises:
        WeightsError: a file is damaged, truncated, holds more than tensors or none at all, or two shards hold the same
            tensor.
    """
    tensors: dict[str, Tensor] = {}
    metadata: dict[str, Any] = {}
    for path in files.files:
        part = _read_safetensors(path) if kind_of(path) == SAFETENSORS else _read_torch(path)
        twice = tensors.keys() & part.tensors.keys()
        if twice:
            raise WeightsError(f"{path}: {min(twice)} is in two shards; download the folder again")
        tensors |= part.tensors
        metadata |= part.metadata
    return RawWeights(tensors, metadata)


def _read_safetensors(path: Path) -> RawWeights:
    try:
        with safe_open(path, "pt") as file:
            return RawWeights({key: file.get_tensor(key) for key in file.keys()}, dict(file.metadata() or {}))  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{path}: damaged or truncated ({error}); download it again") from None


def _read_torch(path: Path) -> RawWeights:
    try:
        # argparse.Namespace is plain data: FAIR's training script puts its arguments beside the weights
        with torch.serialization.safe_globals([argparse.Namespace]):
            found = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except Exception as error:  # torch raises almost anything on damaged archives, UnpicklingError on what is no tensor
        blocked = re.search(r"GLOBAL ([\w.]+)", str(error))
        if blocked:
            raise WeightsError(
                f"{path}: holds more than tensors ({blocked[1]}), which could run code when loaded; refused. If you "
                "trust its origin, save the tensors alone where it was made: torch.save({'model': state_dict}, FILE)"
            ) from None
        reason = f"{type(error).__name__}: {str(error).partition(chr(10))[0][:200]}"
        raise WeightsError(f"{path}: damaged, truncated or not a weights file ({reason}); download it again") from None
    if not isinstance(found, dict):
        raise WeightsError(f"{path}: holds a {type(found).__name__}, not a dictionary of tensors")
    state = found["model"] if isinstance(found.get("model"), dict) else found
    strange = [str(key) for key, value in state.items() if not (isinstance(key, str) and isinstance(value, Tensor))]
    if strange or not state:
        what = f"entries that are no tensors ({', '.join(strange[:3])})" if strange else "no tensors"
        raise WeightsError(f"{path}: holds {what}; expected a state dictionary or {{'model': state dictionary}}")
    arguments = found.get("args")
    return RawWeights(dict(state), dict(vars(arguments)) if isinstance(arguments, argparse.Namespace) else {})
