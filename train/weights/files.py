"""Find and read backbone weights: a file, a folder, shards or a hub id. No code that a file holds is run."""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import struct
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from ...runtime.engines.integrity import file_sha256
from ...runtime.errors import WeightsError

BACKBONE_KEY, LICENCE_KEY = "cinemae.backbone", "cinemae.licence"
"""Metadata keys of our own weights files: the backbone's configuration as JSON, and the licence of the weights."""

SAFETENSORS, TORCH_ZIP, TORCH_LEGACY = "safetensors", "zip", "pickle"
FOLDER_FILES = (
    "backbone.safetensors",
    "model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json",
)  # fmt: skip
"""What is looked for in a folder, in this order; the hub is asked for the same names but the first."""

HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
TIMM_MAE = re.compile(r"vit_(base_patch16|large_patch16|huge_patch14)_224\.mae")


@dataclass(frozen=True)
class WeightsFiles:
    """The files of one source of weights.

    Attributes:
        name: the source as it was asked for.
        files: one file, or its shards.
        config: Hugging Face's config.json, where there is one.
    """

    name: str
    files: tuple[Path, ...]
    config: Path | None = None


@dataclass(frozen=True)
class RawWeights:
    """Weights as the files hold them.

    Attributes:
        tensors: by the files' own keys.
        metadata: of the safetensors file, or the training arguments in a FAIR checkpoint.
    """

    tensors: dict[str, Tensor]
    metadata: dict[str, Any] = field(default_factory=dict)


def locate(source: str | Path) -> WeightsFiles:
    """Find the files of a source: a path, a Hugging Face hub id, or a timm model name.

    Raises:
        WeightsError: nothing is there, or the hub cannot be reached and its files are not cached.
    """
    path = Path(source)
    if path.is_dir():
        return _locate_folder(path)
    if path.is_file():
        if path.name.endswith(".index.json"):
            return WeightsFiles(str(source), _shards(path), _config_beside(path))
        return WeightsFiles(str(source), (path,), _config_beside(path))
    name = str(source)
    if TIMM_MAE.fullmatch(name):
        name = f"timm/{name}"
    is_file_name = path.suffix.lower() in (".pth", ".pt", ".bin", ".safetensors")
    if isinstance(source, str) and HUB_ID.fullmatch(name) and not is_file_name:
        return _locate_hub(name)
    raise WeightsError(
        f"{source}: no such file or folder; give a .pth or .safetensors file, a folder with config.json and its "
        "weights, or a hub id such as facebook/vit-mae-large"
    )


def _config_beside(file: Path) -> Path | None:
    config = file.parent / "config.json"
    return config if file.name in FOLDER_FILES[1:] and config.is_file() else None


def _locate_folder(folder: Path) -> WeightsFiles:
    for name in FOLDER_FILES:
        file = folder / name
        if file.is_file():
            files = _shards(file) if name.endswith(".index.json") else (file,)
            return WeightsFiles(str(folder), files, _config_beside(file))
    raise WeightsError(f"{folder}: holds none of {', '.join(FOLDER_FILES)}; give the weights file itself")


def _shard_names(index: Path) -> list[str]:
    names = read_json(index).get("weight_map")
    if not isinstance(names, dict) or not names or not all(isinstance(n, str) for n in names.values()):
        raise WeightsError(f"{index}: has no weight_map, so it is not an index of shards; download it again")
    shards = sorted(set(names.values()))
    if any(Path(shard).name != shard for shard in shards):
        raise WeightsError(f"{index}: names shards outside its own folder; refused")
    return shards


def _shards(index: Path) -> tuple[Path, ...]:
    files = tuple(index.parent / name for name in _shard_names(index))
    absent = [file.name for file in files if not file.is_file()]
    if absent:
        raise WeightsError(f"{index}: the shards {', '.join(absent)} are missing; download them into the same folder")
    return files


def _locate_hub(repository: str) -> WeightsFiles:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, LocalEntryNotFoundError

    def fetch(name: str) -> Path:
        return Path(hf_hub_download(repository, name))

    try:
        config = fetch("config.json")
        for name in FOLDER_FILES[1:]:
            try:
                file = fetch(name)
            except EntryNotFoundError:  # also what an offline machine says of a file it has not cached
                continue
            files = tuple(map(fetch, _shard_names(file))) if name.endswith(".index.json") else (file,)
            return WeightsFiles(repository, files, config)
    except LocalEntryNotFoundError:
        raise WeightsError(
            f"{repository}: the Hugging Face hub cannot be reached and the files are not in the local cache; download "
            f"the folder on a machine with a network (hf download {repository} --local-dir DIR) and give that folder"
        ) from None
    except EntryNotFoundError:
        raise WeightsError(f"{repository}: has no config.json, so it is no model; give the weights file") from None
    except (HfHubHTTPError, OSError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise WeightsError(
            f"{repository}: cannot be fetched from the Hugging Face hub ({reason}); check the name and the network, "
            "or give a downloaded folder"
        ) from None
    raise WeightsError(
        f"{repository}: no weights could be fetched ({', '.join(FOLDER_FILES[1:])}); check the name and the network, "
        "or give a downloaded folder"
    )


def read_json(path: Path) -> dict[str, Any]:
    """Read a file that must hold a JSON object.

    Raises:
        WeightsError: not JSON, or not an object.
    """
    try:
        found = json.loads(path.read_bytes())
    except (ValueError, RecursionError, OSError) as error:
        raise WeightsError(f"{path}: cannot be read as JSON ({error}); download it again") from None
    if not isinstance(found, dict):
        raise WeightsError(f"{path}: is not a JSON object; download it again")
    return found


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
