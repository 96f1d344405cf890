"""Find the files of backbone weights: a file, a folder, shards or a hub id. No torch."""

from __future__ import annotations

import json
import re
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies

from ...runtime.core.errors import WeightsError

FOLDER_FILES = (
    "backbone.safetensors",
    "model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json",
)
"""What is looked for in a folder, in this order; the hub is asked for the same names but the first."""

HUB_ID = re.compile(r"(?!runs/)[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
"""ORGANISATION/NAME, but not what lies in `runs/`, the folder that the commands write to."""
CONNECT_SECONDS = 5.0
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


def locate(source: str | Path) -> WeightsFiles:
    """Find the files of a source: a path, a Hugging Face hub id, or a timm model name.

    Raises:
        WeightsError: nothing is there, or the hub cannot be reached and its files are not cached.
    """
    return locate_here(source) or _locate_hub(hub_name(source))


def hub_name(source: str | Path) -> str:
    """The hub id of a source; timm's model names belong to its own organisation."""
    return f"timm/{source}" if TIMM_MAE.fullmatch(str(source)) else str(source)


def locate_here(source: str | Path) -> WeightsFiles | None:
    """Find the files of a path; None where the hub has to be asked.

    Raises:
        WeightsError: nothing is there, and it is no name that the hub could know.
    """
    path = Path(source)
    if path.is_dir():
        return _locate_folder(path)
    if path.is_file():
        if path.name.endswith(".index.json"):
            return WeightsFiles(str(source), _shards(path), _config_beside(path))
        return WeightsFiles(str(source), (path,), _config_beside(path))
    is_file_name = path.suffix.lower() in (".pth", ".pt", ".bin", ".safetensors")
    if isinstance(source, str) and HUB_ID.fullmatch(hub_name(source)) and not is_file_name:
        return None
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


def _is_offline() -> bool:
    """Whether the hub takes no connection; huggingface_hub would try six times for each file, for half a minute."""
    from huggingface_hub import constants

    hub = urlsplit(constants.ENDPOINT)
    if hub.scheme in getproxies() or hub.hostname is None:
        return False
    try:
        with socket.create_connection((hub.hostname, hub.port or {"http": 80}.get(hub.scheme, 443)), CONNECT_SECONDS):
            return False
    except OSError:
        return True


def _locate_hub(repository: str) -> WeightsFiles:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, LocalEntryNotFoundError

    offline = _is_offline()

    def fetch(name: str) -> Path:
        return Path(hf_hub_download(repository, name, local_files_only=offline))

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
            f"{repository}: is no file or folder here, it is not in the local cache of the Hugging Face hub, and the "
            "hub cannot be reached; check the path, or download the folder on a machine with a network "
            f"(hf download {repository} --local-dir DIR) and give that folder"
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
