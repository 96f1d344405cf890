"""`--heatmaps DIR`: one heatmap for each scored input, drawn and compressed in threads during inference."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType

import numpy as np

from ..core.errors import OutputError, UsageError
from .heatmap import ColourScale, save_heatmap
from .heatmap_paths import heatmap_path, input_folders

WORKERS = 2
AHEAD = 16
"""Heatmaps in the queue; beyond it `add` blocks (back-pressure), so that memory stays flat when the disk is slow."""
REPORTED = 5
"""Failures that are reported one by one; the others are only counted."""


class HeatmapFolder:
    """Writes heatmaps below a folder; one that cannot be written causes a warning and does not stop the run.

    Attributes:
        folder: the heatmap folder.
        failed: number of heatmaps that could not be written.
    """

    def __init__(
        self,
        folder: str | Path,
        colour_scale: ColourScale | None,
        say: Callable[[str], None],
        arguments: Sequence[str] = (),
    ) -> None:
        """Start the threads.

        Args:
            folder: the heatmap folder.
            colour_scale: the fixed scale; None gives each heatmap its own scale.
            say: called with each warning.
            arguments: the inputs of the command; the folders among them shorten the paths of heatmaps.
        """
        self._inputs = input_folders(arguments)
        self.folder, self.failed = Path(folder), 0
        self._unwritable: OSError | None = None
        self._colour_scale, self._say = colour_scale, say
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
        self._pending.append(self._pool.submit(save_heatmap, target, pixels, lcas, self._colour_scale))

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
