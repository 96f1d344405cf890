"""`--heatmaps DIR`: one picture for each scored input, drawn and compressed in threads beside the inference."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType

import numpy as np

from ..errors import UsageError
from .heatmap import ColourScale, save_heatmap
from .heatmap_paths import place, roots

WORKERS = 2
AHEAD = 16
"""Pictures that may wait: memory stays flat, and a slow disk slows the run down instead of filling memory."""
TOLD = 5
"""Failures that are named one by one; the rest is only counted."""


class HeatmapFolder:
    """Saves heatmaps under `folder`. A picture that cannot be written is named on stderr and never stops the run."""

    def __init__(
        self,
        folder: str | Path,
        colours: ColourScale | None,
        say: Callable[[str], None],
        arguments: Sequence[str] = (),
    ) -> None:
        """`colours`: the fixed scale, None scales each picture to itself. `say` takes warnings.

        `arguments`: the inputs as given to the command; the folders among them shorten the pictures' paths.
        """
        self._roots = roots(arguments)
        self.folder, self.failed = Path(folder), 0
        self._colours, self._say = colours, say
        self._pool = ThreadPoolExecutor(WORKERS, thread_name_prefix="cinemae-heatmap")
        self._pending: deque[Future[None]] = deque()

    def __enter__(self) -> HeatmapFolder:
        return self

    def add(self, source: str, pixels: np.ndarray, lcas: np.ndarray) -> None:
        """Queue the heatmap of the input `source` (its path as given); waits while too many are under way.

        Args:
            pixels: uint8 [S, S, 3]. lcas: float [N].
        """
        while len(self._pending) >= AHEAD:
            self._collect()
        target = place(self.folder, source, self._roots)
        self._pending.append(self._pool.submit(save_heatmap, target, pixels, lcas, self._colours))

    def _collect(self) -> None:
        try:
            self._pending.popleft().result()
        except (OSError, UsageError) as error:
            self.failed += 1
            if self.failed <= TOLD:
                self._say(f"warning: no heatmap: {error}")

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Finish what is queued; after an error, only what is under way."""
        if kind is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
            return
        while self._pending:
            self._collect()
        self._pool.shutdown()
        if self.failed > TOLD:
            self._say(f"warning: {self.failed:,} heatmaps could not be written; the records are complete")
