"""The quality setting of a JPEG, estimated from its luminance quantisation table."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

STANDARD_LUMINANCE = np.array([
    16, 11, 10, 16, 24, 40, 51, 61,
    12, 12, 14, 19, 26, 58, 60, 55,
    14, 13, 16, 24, 40, 57, 69, 56,
    14, 17, 22, 29, 51, 87, 80, 62,
    18, 22, 37, 56, 68, 109, 103, 77,
    24, 35, 55, 64, 81, 104, 113, 92,
    49, 64, 78, 87, 103, 121, 120, 101,
    72, 92, 95, 98, 112, 100, 103, 99,
])
"""Luminance quantisation of ITU-T T.81 Annex K, row by row."""


@lru_cache(maxsize=1)
def _tables() -> np.ndarray:
    """int [100, 64]: the tables of libjpeg for the qualities 1 to 100."""
    qualities = np.arange(1, 101)
    scale = np.where(qualities < 50, 5000 // qualities, 200 - 2 * qualities)
    tables: np.ndarray = ((STANDARD_LUMINANCE[None] * scale[:, None] + 50) // 100).clip(1, 255)
    return tables


def estimate_quality(table: Sequence[int]) -> int:
    """Estimate libjpeg's quality, 1 to 100: the one whose luminance table (64 values, row by row) is nearest."""
    return _nearest(tuple(table))[0]


def is_standard(table: Sequence[int]) -> bool:
    """Whether libjpeg writes exactly this luminance table for some quality."""
    return _nearest(tuple(table))[1] == 0


@lru_cache(maxsize=256)
def _nearest(table: tuple[int, ...]) -> tuple[int, int]:
    """The nearest quality, and the distance of its table: most files of a folder share a few tables."""
    distances = np.abs(_tables() - np.asarray(table)[None]).sum(axis=1)
    nearest = int(distances.argmin())
    return nearest + 1, int(distances[nearest])
