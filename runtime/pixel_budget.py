"""A bound on the pixels that decoding threads hold at the same time."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class PixelBudget:
    """Lets images into memory while their pixels fit; one that is larger than the whole budget is held alone.

    Args:
        pixels: held at most at the same time.
    """

    def __init__(self, pixels: int) -> None:
        self._free = self._total = pixels
        self._freed = threading.Condition()
        self._turn = threading.Lock()

    @contextmanager
    def hold(self, pixels: int) -> Iterator[None]:
        """Wait until `pixels` fit, and hold them during the context.

        The thread that waits keeps the turn, so that small images cannot keep a large one out for ever.
        """
        share = min(pixels, self._total)
        with self._turn, self._freed:
            self._freed.wait_for(lambda: share <= self._free)
            self._free -= share
        try:
            yield
        finally:
            with self._freed:
                self._free += share
                self._freed.notify_all()
