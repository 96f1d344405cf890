"""`--heatmaps DIR`: one heatmap for each scored input, drawn and compressed in threads during inference.

A heatmap lies at the input's relative path below the folder; heatmaps of different inputs never share a path.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path, PurePath
from types import TracebackType

import numpy as np

from ..core.errors import OutputError, UsageError
from ..core.manifest import StatRange
from .heatmap import save_heatmap

WORKERS = 2
AHEAD = 16
"""Heatmaps in the queue; beyond it `add` blocks (back-pressure), so that memory stays flat when the disk is slow."""
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


class HeatmapFolder:
    """Writes heatmaps below a folder; a heatmap that cannot be written causes a warning and does not stop the run.

    Attributes:
        folder: the heatmap folder.
        failed: number of heatmaps that could not be written.
    """

    def __init__(
        self, folder: str | Path, fixed: StatRange | None, say: Callable[[str], None], arguments: Sequence[str] = ()
    ) -> None:
        """Start the threads.

        Args:
            folder: the heatmap folder.
            fixed: LCAS at the two ends of the fixed scale; None gives each heatmap its own scale.
            say: called with each warning.
            arguments: the inputs of the command; the folders among them shorten the paths of heatmaps.
        """
        self._inputs = input_folders(arguments)
        self.folder, self.failed = Path(folder), 0
        self._unwritable: OSError | None = None
        self._fixed, self._say = fixed, say
        self._pool = ThreadPoolExecutor(WORKERS, thread_name_prefix="cinemae-heatmap")
        self._pending: deque[Future[None]] = deque()

    def __enter__(self) -> HeatmapFolder:
        return self

    def add(self, source: str, pixels: np.ndarray, lcas: np.ndarray) -> None:
        """Queue a heatmap; blocks while the queue is full.

        Args:
            source: path of the input as given.
            pixels: uint8 [S, S, 3], the input of the network.
            lcas: float [N], LCAS of the patches, NaN where no run masked the patch.
        """
        while len(self._pending) >= AHEAD:
            self._collect()
        target = heatmap_path(self.folder, source, self._inputs)
        self._pending.append(self._pool.submit(save_heatmap, target, pixels, lcas, self._fixed))

    def _collect(self) -> None:
        try:
            self._pending.popleft().result()
        except (OSError, UsageError) as error:
            self.failed += 1
            self._unwritable = self._unwritable or (error if isinstance(error, OSError) else None)
            if self.failed <= REPORTED:
                self._say(f"warning: no heatmap: {error}")

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Write the queued heatmaps; after an error, only those already being written.

        Raises:
            OutputError: heatmaps could not be written (full disk, no permission).
        """
        if kind is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
            return
        while self._pending:
            self._collect()
        self._pool.shutdown()
        if self._unwritable is not None:
            reason = self._unwritable.strerror or self._unwritable
            raise OutputError(f"{self.folder}: {self.failed:,} heatmaps could not be written ({reason})")
        if self.failed > REPORTED:
            self._say(f"warning: {self.failed:,} heatmaps could not be written; the records are complete")
