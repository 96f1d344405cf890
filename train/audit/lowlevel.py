"""Low-level image statistics: cues that a detector may use without understanding the picture.

`blockiness` and `spectrum` feed the probes of `audit` and `controls`; entropy, high-frequency ratio and total
variation are the classical statistics of Fig. 7. All take luminance in [0, 255] as float64 [H, W].
"""

from __future__ import annotations

import numpy as np
from PIL import Image
from scipy.fft import dctn

BLOCK = 8
RADIAL_BINS = 32
HIGH_FREQUENCY = 0.25
"""Radius, in cycles a pixel, above which a frequency counts as high: half of Nyquist."""
EPS = 1e-6
MAX_SIDE = 1024
"""Larger images are cut to their middle: the statistics are averages, and memory stays bounded."""


def luminance(image: Image.Image) -> np.ndarray:
    """RGB image -> float64 [H, W] in [0, 255], at most `MAX_SIDE` a side, cut on the 8 x 8 grid."""
    left, top = (max(0, (side - MAX_SIDE) // 2) // BLOCK * BLOCK for side in image.size)
    box = (left, top, min(image.width, left + MAX_SIDE), min(image.height, top + MAX_SIDE))
    return np.asarray(image.crop(box).convert("L"), dtype=np.float64)


def blockiness(gray: np.ndarray) -> np.ndarray:
    """Traces of JPEG's 8 x 8 grid.

    The first 16 values are the log mean absolute steps between neighbours at each of the 8 column and 8 row phases,
    less their mean: larger steps where blocks meet show that the image was compressed on this grid. The other 63 are,
    for each AC coefficient of the 8 x 8 blocks, the share of blocks where it is nearly zero (below 1): quantisation
    empties the high frequencies.

    Args:
        gray: float64 [H, W] in [0, 255].

    Returns:
        float64 [79].
    """
    phases = []
    for steps in (np.abs(np.diff(gray, axis=1)), np.abs(np.diff(gray, axis=0)).T):
        means = np.array([steps[:, p::BLOCK].mean() if steps[:, p::BLOCK].size else 0.0 for p in range(BLOCK)])
        logs = np.log(means + EPS)
        phases.append(logs - logs.mean())
    rows, columns = (side // BLOCK for side in gray.shape)
    if not rows or not columns:
        return np.concatenate([*phases, np.zeros(BLOCK**2 - 1)])
    blocks = gray[: rows * BLOCK, : columns * BLOCK].reshape(rows, BLOCK, columns, BLOCK).swapaxes(1, 2) - 128
    coefficients = dctn(blocks, axes=(2, 3), norm="ortho")
    return np.concatenate([*phases, (np.abs(coefficients) < 1).mean(axis=(0, 1)).ravel()[1:]])


def _power(gray: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Whole power spectrum of the Hann-windowed, mean-free image, and its frequencies' radii in cycles a pixel."""
    window = np.outer(np.hanning(gray.shape[0]), np.hanning(gray.shape[1]))
    power = np.abs(np.fft.fft2((gray - gray.mean()) * window)) ** 2
    radius = np.hypot(np.fft.fftfreq(gray.shape[0])[:, None], np.fft.fftfreq(gray.shape[1])[None])
    return power, radius


def spectrum(gray: np.ndarray) -> np.ndarray:
    """Log power averaged over 32 rings up to Nyquist, less its mean, so that contrast drops out: float64 [32]."""
    power, radius = _power(gray)
    ring = np.minimum((radius / 0.5 * RADIAL_BINS).astype(int), RADIAL_BINS).ravel()
    total = np.bincount(ring, power.ravel(), RADIAL_BINS + 1)[:RADIAL_BINS]
    count = np.bincount(ring, minlength=RADIAL_BINS + 1)[:RADIAL_BINS]
    logs = np.log(total / np.maximum(count, 1) + EPS)
    return logs - logs.mean()


def entropy(gray: np.ndarray) -> float:
    """Shannon entropy of the 256-level histogram, in bits."""
    counts = np.bincount(gray.astype(np.uint8).ravel(), minlength=256)
    p = counts[counts > 0] / counts.sum()
    return float(-(p * np.log2(p)).sum())


def high_frequency_ratio(gray: np.ndarray) -> float:
    """Share of the spectral power above `HIGH_FREQUENCY`."""
    power, radius = _power(gray)
    return float(power[radius > HIGH_FREQUENCY].sum() / (power.sum() + EPS))


def total_variation(gray: np.ndarray) -> float:
    """Mean gradient magnitude, forward differences."""
    dy, dx = np.diff(gray, axis=0)[:, :-1], np.diff(gray, axis=1)[:-1]
    return float(np.hypot(dy, dx).mean())
