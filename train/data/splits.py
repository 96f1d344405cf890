"""Splits of a data set of many files: as its card's metadata say, else as the paths of the files do."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from typing import Any

from ...runtime.core.environment import require
from ...runtime.core.errors import UsageError
from .layouts import SPLITS

log = logging.getLogger("cinemae.train")

DEFAULT_SPLIT = "train"
"""Split of files that name none, as `datasets` has it (huggingface.co/docs/datasets/repository_structure)."""


def chosen_files(root: str, paths: Sequence[str], inside: str, card: str | None) -> list[tuple[str, str]]:
    """The files that `inside`, a configuration, split, folder or file, stands for, each with its split.

    Raises:
        UsageError: `inside` names nothing, or there are several configurations and none is the default.
    """
    configs = _configs(card)
    first, _, rest = inside.partition("/")
    if first in configs:
        name, inside = first, rest
    else:
        default = [name for name, one in configs.items() if one.get("default") or name == "default"]
        name = (default or [*configs])[0] if len(configs) == 1 or default else ""
    by_split = _splits(configs.get(name, {}), paths)
    if not by_split and len(configs) > 1 and inside not in paths:
        raise UsageError(f"{root}: holds several configurations; name one: {root}/({'|'.join(configs)})")
    found = [(path, split) for split, own in by_split.items() for path in own]
    found = found or [(path, split_of(path)) for path in paths]
    if not inside:
        return found
    wanted = SPLITS.get(inside.lower(), inside)
    chosen = [(path, split) for path, split in found if inside == split or wanted == SPLITS.get(split.lower())]
    chosen = chosen or [(path, split_of(path)) for path in paths if path == inside or path.startswith(f"{inside}/")]
    if not chosen:
        there = ", ".join(sorted({split for _, split in found} - {""})) or "none is named"
        raise UsageError(f"{root}: no split, folder or file {inside!r}; splits: {there}")
    return chosen


def _configs(card: str | None) -> dict[str, dict[str, Any]]:
    """The configurations of a data set by name, from the metadata of its card."""
    if card is None:
        return {}
    require(card, "data", "huggingface_hub")
    from huggingface_hub import metadata_load

    try:
        configs = (metadata_load(card) or {}).get("configs") or []
        return {str(one["config_name"]): one for one in configs if one.get("data_files")}
    except Exception as error:  # YAML raises its own
        log.warning("%s: its metadata cannot be read (%s); splits are told by the names of files", card, error)
        return {}


def _splits(config: dict[str, Any], paths: Sequence[str]) -> dict[str, list[str]]:
    """Files by split, from `data_files` of a configuration."""
    files = config.get("data_files") or []
    given = [{"split": DEFAULT_SPLIT, "path": files}] if isinstance(files, str) else files
    found: dict[str, list[str]] = {}
    for one in given:
        one = one if isinstance(one, dict) else {"split": DEFAULT_SPLIT, "path": one}
        patterns = one["path"] if isinstance(one["path"], list) else [one["path"]]
        own = [path for path in paths if any(_matches(path, str(pattern)) for pattern in patterns)]
        found.setdefault(str(one.get("split", DEFAULT_SPLIT)), []).extend(own)
    return {split: own for split, own in found.items() if own}


def _matches(path: str, pattern: str) -> bool:
    """Whether a pattern of a card matches; `*` stays in a folder, `**` does not."""
    parts = re.split(r"(\*\*/?|\*|\?)", pattern.removeprefix("./"))
    kinds = {"**": ".*", "**/": "(.*/)?", "*": "[^/]*", "?": "[^/]"}
    return re.fullmatch("".join(kinds.get(part, re.escape(part)) for part in parts), path) is not None


def split_of(path: str) -> str:
    """The split that a path names, as a part or a word of it: `data/train-00000-of-00002.parquet`."""
    words = [word for word in re.split(r"[^a-z]+", path.lower()) if word in SPLITS]
    return words[-1] if words else ""
