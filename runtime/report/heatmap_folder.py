"""`--heatmaps DIR`: one heatmap for each scored input, drawn and compressed in threads during inference.

A heatmap lies at the input's relative path below the folder; heatmaps of different inputs never share a path.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path, PurePath

import numpy as np

from ..core.errors import OutputError, UsageError
from ..core.manifest import StatRange
from ..scoring.heatmap import save_heatmap

WORKERS = 2
AHEAD = 16
"""Heatmaps in the queue; beyond it adding blocks (back-pressure), so that memory stays flat when the disk is slow."""
REPORTED = 5
"""Failures that are reported one by one; the others are only counted."""
SUFFIX = ".lcas.png"
_ABSOLUTE, _PARENT = "@root", "@up"
_UNSAFE = re.compile(r'[\x00-\x1f\x7f<>:"|?*\\\ud800-\udfff]')
_RESERVED = re.compile(r"^(con|prn|aux|nul|com\d|lpt\d)(\.|$)|^@|[. ]$", re.IGNORECASE)
MAX_COMPONENT = 180
"""Bytes of one name; leaves room for the suffix, the affixes of a temporary file, and encrypting file systems."""


def input_folders(arguments: Sequence[str]) -> dict[str, str]:
    """The folders among a command's inputs that shorten the paths of heatmaps, nested folders before their parents.

    If the only input is a folder, its heatmaps lie directly in the heatmap folder. Otherwise, each folder outside the
    working folder gets a subfolder of its name with `@` before it, and a number after it if the name is not unique.
    Folders inside the working folder are left to `heatmap_path`.

    Returns:
        Path of each folder as given, with a separator at the end -> name of the subfolder for its heatmaps, "" for
        the heatmap folder itself.
    """
    folders = [argument for argument in dict.fromkeys(arguments) if os.path.isdir(argument)]
    if len(arguments) == 1 and folders:
        return {os.path.join(folders[0], ""): ""}
    labelled: dict[str, str] = {}
    labels = {_ABSOLUTE, _PARENT}
    for folder in folders:
        if os.path.isabs(folder) or os.pardir in PurePath(folder).parts:
            name = stem = "@" + _clean(os.path.basename(os.path.abspath(folder)) or "top").lstrip("@")
            number = 2
            while name.casefold() in labels:
                name, number = f"{stem}~{number}", number + 1
            labels.add(name.casefold())
            labelled[os.path.join(folder, "")] = name
    return dict(sorted(labelled.items(), key=lambda item: -len(item[0])))


def heatmap_path(folder: str | Path, source: str, inputs: Mapping[str, str] | None = None) -> Path:
    """Path of an input's heatmap; different inputs never share a path.

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
    prefix = ""
    base = next((base for base in inputs or () if source.startswith(base) and source != base), None)
    pure = PurePath(source if base is None else source[len(base) :].lstrip(os.sep))
    if inputs and base is not None:
        prefix = inputs[base]
    elif pure.is_absolute():
        if pure.is_relative_to(os.getcwd()):
            pure = pure.relative_to(os.getcwd())
        else:
            pure, prefix = pure.relative_to(pure.anchor), _ABSOLUTE
    *folders, name = [_clean(part) for part in pure.parts] or [_clean("")]
    member = source.partition("::")[2]  # of an archive: its name is no path, so that `/x` and `x` are different ones
    if member and (member.startswith("/") or str(PurePath(member)) != member):
        name = _hashed(name, source)
    # A folder with the suffix of a heatmap could have the path of a heatmap.
    folders = [_hashed(part, part) if part.lower().endswith(SUFFIX) else part for part in folders]
    return Path(folder, prefix, *folders, name + SUFFIX)


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


@contextmanager
def heatmap_folder(
    folder: str | Path, fixed: StatRange | None, say: Callable[[str], None], arguments: Sequence[str] = ()
) -> Iterator[Callable[[str, np.ndarray, np.ndarray], None]]:
    """A function that queues a heatmap; it takes the path of the input as given, and the arguments of `figure`.

    It blocks while the queue is full. A heatmap that cannot be written causes a warning and does not stop the run. The
    queue is written at the end of the block; after an error, only those heatmaps that are already being written.

    Args:
        folder: the heatmap folder.
        fixed: LCAS at the two ends of the fixed scale; None gives each heatmap its own scale.
        say: called with each warning.
        arguments: the inputs of the command; the folders among them shorten the paths of heatmaps.

    Raises:
        OutputError: at the end of the block, heatmaps could not be written (full disk, no permission).
    """
    inputs, failed, unwritable = input_folders(arguments), 0, ""
    pending: deque[Future[None]] = deque()

    def collect() -> None:
        nonlocal failed, unwritable
        try:
            pending.popleft().result()
        except (OSError, UsageError) as error:
            failed += 1
            if isinstance(error, OSError):
                unwritable = unwritable or error.strerror or str(error)
            if failed <= REPORTED:
                say(f"warning: no heatmap: {error}")

    def add(source: str, pixels: np.ndarray, lcas: np.ndarray) -> None:
        while len(pending) >= AHEAD:
            collect()
        pending.append(pool.submit(save_heatmap, heatmap_path(folder, source, inputs), pixels, lcas, fixed))

    with ThreadPoolExecutor(WORKERS, thread_name_prefix="cinemae-heatmap") as pool:
        try:
            yield add
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
        while pending:
            collect()
    if unwritable:
        raise OutputError(f"{folder}: {failed:,} heatmaps could not be written ({unwritable})")
    if failed > REPORTED:
        say(f"warning: {failed:,} heatmaps could not be written; the records are complete")
