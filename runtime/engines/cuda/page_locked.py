"""Host memory that CUDA has page-locked, so that a GPU can fetch images from where the decoders have written them."""

from __future__ import annotations

import logging

import numpy as np

from ...core.errors import CinemaeError
from ...core.rows import address
from .driver import Cuda

_log = logging.getLogger(__name__)


class PageLocked:
    """The memory that an engine has page-locked, which is kept alive until it is unlocked."""

    def __init__(self, cuda: Cuda) -> None:
        self._cuda = cuda
        self._offered: list[np.ndarray] = []
        self._locked: list[np.ndarray] = []

    def add(self, memory: np.ndarray) -> None:
        """Lock memory, once; where that fails, images in it are copied as from any other memory."""
        if any(memory is known for known in self._offered):
            return
        self._offered.append(memory)
        try:
            self._cuda.lock(address(memory), memory.nbytes)
            self._locked.append(memory)
        except CinemaeError as error:
            _log.info("images are copied once more on their way to the GPU: %s", error)

    def holds(self, images: np.ndarray) -> bool:
        """Whether an array lies in locked memory."""
        start = address(images)
        return any(0 <= start - address(memory) < memory.nbytes for memory in self._locked)

    def close(self) -> None:
        """Unlock everything."""
        while self._locked:
            self._cuda.unlock(address(self._locked.pop()))
        self._offered.clear()
