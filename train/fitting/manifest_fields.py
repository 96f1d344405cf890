"""Fields of the manifest that follow from the training data and the software: ranges, colour scale, masks, versions."""

from __future__ import annotations

import platform
from collections.abc import Iterable
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version

import numpy as np

from ...runtime.core.manifest import Masks, MethodConfig, StatRange
from ..features.cache import FeatureCache
from ..features.cache_spec import CacheSpec
from .examples import read_maps

RANGE_PERCENTILES = (1.0, 99.0)
HEATMAP_ROWS = 2000
"""Training images whose patches set the fixed colour scale; the percentiles of more do not move."""
TRAINING_PACKAGES = ("cinemae", "torch", "timm", "numpy", "scikit-learn", "safetensors", "pillow")


def percentile_range(values: np.ndarray) -> StatRange:
    """1st and 99th percentile of any number of values."""
    low, high = np.percentile(values, RANGE_PERCENTILES)
    return StatRange(low=float(low), high=float(high))


def heatmap_range(cache: FeatureCache, rows: np.ndarray, method: MethodConfig) -> StatRange:
    """Fixed colour scale of heatmaps: percentiles of the deployed patch map over the training images in `rows`."""
    values = read_maps(cache, rows[:: max(1, len(rows) // HEATMAP_ROWS)], method)
    return percentile_range(values[np.isfinite(values)])


def tool_versions(packages: Iterable[str] = TRAINING_PACKAGES) -> dict[str, str]:
    """Versions of Python and of the `packages` that are installed, the makers of a checkpoint or an engine."""
    versions = {"python": platform.python_version()}
    for name in packages:
        with suppress(PackageNotFoundError):
            versions[name] = version(name)
    return versions


def masks_of(visible: np.ndarray) -> Masks:
    """Convert masks, int64 [K, V], into the manifest's form."""
    return Masks(visible=tuple(tuple(int(i) for i in run) for run in visible))


def augment_text(spec: CacheSpec) -> str:
    """Name of the augmentation, with the number of views where there are several."""
    return f"{spec.augment} x{spec.views}" if spec.views > 1 else spec.augment
