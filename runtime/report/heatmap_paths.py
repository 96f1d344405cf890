"""Where an input's heatmap goes: the input's own relative path under one folder; inputs never share a file."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath

SUFFIX = ".lcas.png"
_ABSOLUTE, _PARENT = "@root", "@up"
_UNSAFE = re.compile(r'[\x00-\x1f\x7f<>:"|?*\\\ud800-\udfff]')
_RESERVED = re.compile(r"^(con|prn|aux|nul|com\d|lpt\d)(\.|$)|^@|[. ]$", re.IGNORECASE)
MAX_COMPONENT = 180
"""Bytes of one name: room for the suffix, a temporary name's decoration, and encrypted file systems."""


@dataclass(frozen=True)
class Root:
    """Inputs whose path starts with `prefix` go below `label` (one name, or "" for the heatmap folder itself)."""

    prefix: str
    label: str


def roots(arguments: Sequence[str]) -> tuple[Root, ...]:
    """Short places for the inputs below the folders among `arguments` (a command's inputs, as given).

    A single folder's files keep their path relative to it. Of several arguments, folders outside of the working folder
    get `@` and their own name, numbered where two are alike; the others need nothing, see `place`.
    """
    folders = [argument for argument in dict.fromkeys(arguments) if os.path.isdir(argument)]
    if len(arguments) == 1 and folders:
        return (Root(os.path.join(folders[0], ""), ""),)
    found: list[Root] = []
    labels = {_ABSOLUTE, _PARENT}
    for folder in folders:
        if not os.path.isabs(folder) and os.pardir not in PurePath(folder).parts:
            continue
        name = stem = "@" + _clean(os.path.basename(os.path.abspath(folder)) or "top").lstrip("@")
        number = 2
        while name.casefold() in labels:
            name, number = f"{stem}~{number}", number + 1
        labels.add(name.casefold())
        found.append(Root(os.path.join(folder, ""), name))
    return tuple(sorted(found, key=lambda root: -len(root.prefix)))  # the innermost of nested folders goes first


def place(folder: str | Path, source: str, under: Sequence[Root] = ()) -> Path:
    """Path of the heatmap of the input `source` (a path as the user gave it) inside `folder`.

    The name keeps the input's suffix (`a.jpg` and `a.png` do not meet). Below a root of `under`, the path relative to
    it is kept. Else paths inside the working folder are kept as they are, absolute ones elsewhere go below `@root`,
    and `..` becomes `@up`. A name that a file system may refuse is cleaned and gets eight digits of its hash, so two
    inputs do not meet after cleaning either. It depends on nothing but its arguments and the working folder: a resumed
    run writes the same files.
    """
    prefix: list[str] = []
    root = next((root for root in under if source.startswith(root.prefix) and source != root.prefix), None)
    pure = PurePath(source if root is None else source[len(root.prefix) :].lstrip(os.sep))
    if root is not None:
        prefix = [root.label] if root.label else []
    elif pure.is_absolute():
        if pure.is_relative_to(os.getcwd()):
            pure = pure.relative_to(os.getcwd())
        else:
            pure, prefix = pure.relative_to(pure.anchor), [_ABSOLUTE]
    *folders, name = [_clean(part) for part in pure.parts] or [_clean("")]
    # A folder that ends like one of our files could be in the way of that file.
    folders = [_hashed(part, part) if part.lower().endswith(SUFFIX) else part for part in folders]
    return Path(folder, *prefix, *folders, name + SUFFIX)


def _clean(part: str) -> str:
    if part == "..":
        return _PARENT
    safe = _UNSAFE.sub("_", part)
    if part and safe == part and not _RESERVED.search(part) and len(os.fsencode(part)) <= MAX_COMPONENT:
        return part
    return _hashed(safe, part)


def _hashed(safe: str, part: str) -> str:
    digest = hashlib.sha256(part.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    shortened = safe.encode("utf-8", "replace")[: MAX_COMPONENT - 16].decode("utf-8", "ignore").strip("@. ")
    return f"{shortened or 'unnamed'}~{digest}"
