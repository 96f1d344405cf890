"""The colour map of the heatmaps, "inferno": perceptually uniform, readable in grey and with colour blindness."""

from __future__ import annotations

import numpy as np

INFERNO_ANCHORS = (
    "000004", "040312", "0b0724", "150b37", "210c4a", "2f0a5b", "3d0965", "4a0c6b", "57106e", "64156e", "71196e",
    "7d1e6d", "8a226a", "972766", "a32c61", "b0315b", "bc3754", "c63d4d", "d04545", "da4e3c", "e35933", "eb6429",
    "f1711f", "f67e14", "f98c0a", "fb9b06", "fcaa0f", "fbba1f", "f9c932", "f5d949", "f2e865", "f3f586", "fcffa4",
)
"""Every eighth colour of inferno (S. van der Walt and N. Smith, CC0); between them it is linear within 2 of 255."""


def colour_table(size: int = 256) -> np.ndarray:
    """The colour map in `size` steps: uint8 [size, 3], RGB, from dark (low) to bright (high)."""
    anchors = np.asarray([[int(colour[i : i + 2], 16) for i in (0, 2, 4)] for colour in INFERNO_ANCHORS], np.float64)
    where = np.linspace(0, len(anchors) - 1, size)
    channels = [np.interp(where, np.arange(len(anchors)), anchors[:, channel]) for channel in range(3)]
    return np.stack(channels, axis=1).round().astype(np.uint8)


def hex_colours() -> list[str]:
    """The 256 colours as "#rrggbb", low to high, for web pages."""
    return ["#" + bytes(colour).hex() for colour in colour_table()]


def normalise(values: np.ndarray, low: float, high: float) -> np.ndarray:
    """Positions of values on the colour map.

    Args:
        values: float [...], LCAS.
        low: LCAS of the first colour.
        high: LCAS of the last colour.

    Returns:
        float64 [...] in [0, 1]; values outside [low, high] are clipped, NaN stays NaN.
    """
    span = max(high - low, np.finfo(np.float32).tiny)
    return ((np.asarray(values, np.float64) - low) / span).clip(0, 1)
