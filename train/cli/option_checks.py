"""Checks of single options, before torch is imported: each raises UsageError with what is wrong and what fits."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ...runtime.core.errors import UsageError, WeightsError
from ...runtime.engines.wrong_path import ENGINE, WEIGHTS_FILES, is_checkpoint, what_is
from ..data.transforms import check_augment
from ..features.cache_spec import find_caches, no_cache
from ..fitting.checkpoint_folder import read_manifest
from ..weights.locate import locate_here


def checked(model: Any, **fields: Any) -> Any:
    """Make a configuration, a pydantic `model`, from the values of options.

    Raises:
        UsageError: a value is not allowed; the message names each such option.
    """
    try:
        return model(**fields)
    except ValidationError as error:
        names = (str(e["loc"][0]).strip("_").replace("_", "-") if e["loc"] else "" for e in error.errors())
        problems = (f"--{name}: {e['msg']}" for name, e in zip(names, error.errors(), strict=True))
        raise UsageError("; ".join(problems)) from None


def check_backbone(source: str) -> None:
    """Refuse what cannot be backbone weights, as far as names tell; the hub is not asked.

    Raises:
        UsageError: nothing is there, or another kind of file.
    """
    path = Path(source)
    if path.is_dir() and is_checkpoint(path) and not (path / WEIGHTS_FILES[0]).is_file():
        own = read_manifest(path).backbone.source
        raise UsageError(f"{source} is a checkpoint, not backbone weights; those it was fitted on are {own}")
    if path.exists() and (found := what_is(path)) and found[0] == ENGINE:
        raise UsageError(f"{source} is an engine, not backbone weights: it goes to {found[1]}")
    try:
        locate_here(source)
    except WeightsError as error:
        raise UsageError(str(error)) from None


def check_cache(root: Path, augment: str | None) -> None:
    """Raise UsageError where there is no feature cache, or for an augmentation that nobody knows."""
    if augment is not None:
        check_augment(augment)
    if not find_caches(root):
        raise UsageError(no_cache(root))


def check_choice(option: str, value: str, choices: Sequence[str]) -> None:
    """Raise UsageError for a value of `option` that is none of its choices."""
    if value not in choices:
        raise UsageError(f"{option} {value!r}: use {', '.join(choices)}")


def check_photos(folders: Sequence[Path]) -> None:
    """Raise UsageError for a folder of photographs that is not there."""
    for folder in folders:
        if not folder.is_dir():
            raise UsageError(f"{folder}: no such folder; give one that holds photographs")


def check_folder(option: str, path: Path) -> None:
    """Raise UsageError if the folder that `option` names cannot be made, because a file has its name or a parent's."""
    there = next((parent for parent in (path, *path.parents) if parent.exists()), None)
    if there is not None and not there.is_dir():
        raise UsageError(f"{option} {path}: {there} is a file; name a folder")


def parse_shard(text: str) -> tuple[int, int]:
    """Parse 'i/n', 0 <= i < n.

    Raises:
        UsageError: any other text.
    """
    head, _, tail = text.partition("/")
    if not (head.isdigit() and tail.isdigit() and int(head) < int(tail)):
        raise UsageError(f"--shard must be i/n with 0 <= i < n (0/4 ... 3/4 for four processes), got {text!r}")
    return int(head), int(tail)


def chosen_shard(shard: str | None, ray: str | None) -> tuple[int, int]:
    """The part of an extraction that this process takes: as `--shard` says, else as torchrun does.

    Raises:
        UsageError: a wrong text, or one with `--ray`, which divides the work by itself.
    """
    if ray is not None and shard is not None:
        raise UsageError("--ray divides the work by itself: leave out --shard")
    if ray is not None:
        return 0, 1
    return parse_shard(shard) if shard else shard_from_environment()


def shard_from_environment() -> tuple[int, int]:
    """Rank and world size under torchrun, else (0, 1)."""
    return int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
