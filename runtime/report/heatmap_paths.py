"""The path of an input's heatmap: the input's relative path below the heatmap folder, without path collisions."""

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
"""Bytes of one name; leaves room for the suffix, the affixes of a temporary file, and encrypting file systems."""


@dataclass(frozen=True)
class InputFolder:
    """An input folder whose heatmaps keep their path relative to it.

    Attributes:
        prefix: path of the folder as given, with a separator at the end.
        label: name of the subfolder for its heatmaps; "" for the heatmap folder itself.
    """

    prefix: str
    label: str


def input_folders(arguments: Sequence[str]) -> tuple[InputFolder, ...]:
    """The folders among a command's inputs that shorten the paths of heatmaps, nested folders before their parents.

    If the only input is a folder, its heatmaps lie directly in the heatmap folder. Otherwise, each folder outside the
    working folder gets a subfolder of its name with `@` before it, and a number after it if the name is not unique.
    Folders inside the working folder are left to `heatmap_path`.
    """
    folders = [argument for argument in dict.fromkeys(arguments) if os.path.isdir(argument)]
    if len(arguments) == 1 and folders:
        return (InputFolder(os.path.join(folders[0], ""), ""),)
    labelled: list[InputFolder] = []
    labels = {_ABSOLUTE, _PARENT}
    for folder in folders:
        if not os.path.isabs(folder) and os.pardir not in PurePath(folder).parts:
            continue
        name = stem = "@" + _clean(os.path.basename(os.path.abspath(folder)) or "top").lstrip("@")
        number = 2
        while name.casefold() in labels:
            name, number = f"{stem}~{number}", number + 1
        labels.add(name.casefold())
        labelled.append(InputFolder(os.path.join(folder, ""), name))
    return tuple(sorted(labelled, key=lambda folder: -len(folder.prefix)))


def heatmap_path(folder: str | Path, source: str, inputs: Sequence[InputFolder] = ()) -> Path:
    """Path of an input's heatmap; different inputs never share one.

    The path of the input is kept: relative to the innermost of `inputs` that contains it, else relative to the working
    folder. Absolute paths elsewhere go below `@root`, and `..` becomes `@up`. The file name keeps the input's suffix,
    so that `a.jpg` and `a.png` have no path collision. Names that a file system may reject are cleaned and get eight
    digits of their hash, which prevents path collisions between cleaned names. The result depends only on the
    arguments and the working folder, so that a resumed run writes the same files.

    Args:
        folder: the heatmap folder.
        source: path of the input as given.
        inputs: the result of `input_folders`.
    """
    prefix: list[str] = []
    base = next((base for base in inputs if source.startswith(base.prefix) and source != base.prefix), None)
    pure = PurePath(source if base is None else source[len(base.prefix) :].lstrip(os.sep))
    if base is not None:
        prefix = [base.label] if base.label else []
    elif pure.is_absolute():
        if pure.is_relative_to(os.getcwd()):
            pure = pure.relative_to(os.getcwd())
        else:
            pure, prefix = pure.relative_to(pure.anchor), [_ABSOLUTE]
    *folders, name = [_clean(part) for part in pure.parts] or [_clean("")]
    member = source.partition("::")[2]  # of an archive: its name is no path, so that `/x` and `x` are different ones
    if member and (member.startswith("/") or str(PurePath(member)) != member):
        name = _hashed(name, source)
    # A folder with the suffix of a heatmap could have the path of a heatmap.
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
