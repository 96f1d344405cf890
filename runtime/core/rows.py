"""Memory for the pixels of images, side by side: decoders write into it, engines read a whole batch from it.

Rows are reserved in the order of the inputs. So the images of a batch usually lie one behind the other, and are an
array [B, S, S, 3] without being copied; where an input failed or has several crops, they are a few such arrays.
"""

from __future__ import annotations

import ctypes
import threading
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided


@dataclass(frozen=True)
class Row:
    """A place for the pixels of one image.

    Attributes:
        pixels: uint8 [S, S, 3], of any values.
        index: its place in the memory of `rows`; None where that was full, and it has memory of its own.
        rows: where it comes from.
    """

    pixels: np.ndarray
    index: int | None
    rows: Rows

    def place(self, crops: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Copy the crops of an input, each uint8 [S, S, 3]: the first one to this row, the others to further rows."""
        self.pixels[...] = crops[0]
        return self.beside(crops)

    def beside(self, crops: Sequence[np.ndarray]) -> list[np.ndarray]:
        """As `place`, where the first crop has been written already."""
        targets = [self.pixels, *(self.rows.take().pixels for _ in crops[1:])]
        for target, crop in zip(targets[1:], crops[1:], strict=True):
            target[...] = crop
        return targets


class Rows:
    """A ring of rows. One is reserved again only when no array over it is left anywhere, so it can't be overwritten
    while a decoder, a batch in flight, a report or a caller holds it. A full ring gives rows with memory of their own.

    Attributes:
        memory: uint8 [R, S, S, 3].
        shared: the same as a ctypes array that can be sent to a process while it starts; None for ordinary memory.
    """

    def __init__(self, count: int, size: int, shared: bool = False) -> None:
        """Allocate rows.

        Args:
            count: their number, R.
            size: side of an image, S.
            shared: in memory that processes can share. It has no name, so that nothing is left if this one is killed.
        """
        self._type = ctypes.c_uint8 * (3 * size**2)
        self.shared: Any = None
        if shared:
            from multiprocessing.sharedctypes import RawArray

            self.shared = RawArray(ctypes.c_uint8, count * 3 * size**2)
            self.memory = np.frombuffer(self.shared, np.uint8).reshape(count, size, size, 3)
        else:
            self.memory = np.empty((count, size, size, 3), np.uint8)
        self._reserved = bytearray(count)
        self._next = 0
        self._lock = threading.Lock()

    def take(self) -> Row:
        """Reserve the next free row; may be called from several threads."""
        shape = self.memory.shape[1:]
        with self._lock:
            index = self._reserved.find(0, self._next)
            if index < 0:
                index = self._reserved.find(0)
            if index < 0:
                return Row(np.empty(shape, np.uint8), None, self)
            self._reserved[index] = 1
            self._next = index + 1
        # every array over the row keeps `block` alive: numpy shortens chains of arrays, but not past other objects
        block: Any = self._type.from_buffer(self.memory.reshape(-1).data, index * ctypes.sizeof(self._type))
        weakref.finalize(block, self._release, index).atexit = False
        return Row(np.frombuffer(block, np.uint8).reshape(shape), index, self)

    def _release(self, index: int) -> None:
        """Called wherever the last array dies, possibly inside `take`: a single step without the lock."""
        self._reserved[index] = 0


def address(array: np.ndarray) -> int:
    """Where an array's data begin."""
    start: int = array.__array_interface__["data"][0]
    return start


def contiguous_runs(images: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Images, each uint8 [S, S, 3], as few arrays [n, S, S, 3] over the same memory, in order.

    The images must be kept as long as the arrays are used.
    """
    found, first = [], 0
    for i in range(1, len(images) + 1):
        before = images[i - 1]
        joined = i < len(images) and before.flags.c_contiguous and images[i].flags.c_contiguous
        if not joined or address(images[i]) != address(before) + before.nbytes:
            image = images[first]
            found.append(as_strided(image, (i - first, *image.shape), (image.nbytes, *image.strides)))
            first = i
    return found


def stacked(images: Sequence[np.ndarray]) -> np.ndarray:
    """Images, each uint8 [S, S, 3], as one array [B, S, S, 3]; copied only where they do not lie side by side."""
    found = contiguous_runs(images)
    return found[0] if len(found) == 1 else np.stack(images)
