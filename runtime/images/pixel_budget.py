"""A bound on the pixels that decoding threads hold at the same time."""

from __future__ import annotations

import ctypes
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

LARGE_PIXELS = 25_000_000
"""Before an image with more pixels, `malloc_trim` returns freed memory to the system.

glibc keeps freed memory for each thread: eight images of 178 megapixels, decoded in turn by eight threads, left eight
times the memory of a single image.
"""

_malloc_trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None


class PixelBudget:
    """Lets images into memory while their pixels fit; an image larger than the whole budget is held alone.

    Attributes:
        pixels: held at most at the same time.
    """

    def __init__(self, pixels: int) -> None:
        self._free = self.pixels = pixels
        self._freed = threading.Condition()
        self._turn = threading.Lock()

    @contextmanager
    def hold(self, pixels: int) -> Iterator[None]:
        """Wait until `pixels` fit, and hold them during the context.

        The thread that waits keeps the turn, so that small images cannot keep a large one out for ever.
        """
        share = min(pixels, self.pixels)
        with self._turn, self._freed:
            self._freed.wait_for(lambda: share <= self._free)
            self._free -= share
            if share > LARGE_PIXELS and _malloc_trim is not None:
                _malloc_trim(0)
        try:
            yield
        finally:
            with self._freed:
                self._free += share
                self._freed.notify_all()
