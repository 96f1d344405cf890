"""Mask sets: which patches each of the K runs sees. Masks are data: drawn once here, then stored, never re-derived."""

from __future__ import annotations

from typing import Literal

import numpy as np

from .errors import UsageError

MaskStrategy = Literal["balanced", "independent"]
MASK_RATIO = 0.75


def visible_count(n_patches: int, mask_ratio: float = MASK_RATIO) -> int:
    """Number V of visible patches out of N (truncated, as in the MAE reference: 49 of 196, 64 of 256)."""
    return int(n_patches * (1 - mask_ratio))


def draw_visible(
    n_patches: int, k: int, strategy: MaskStrategy, seed: int, mask_ratio: float = MASK_RATIO
) -> np.ndarray:
    """Draw the visible patch indices of K runs.

    `balanced` cuts a random permutation of all patches into floor(N/V) disjoint visible sets and takes a fresh
    permutation when they are used up, so every patch is masked at least K - ceil(K / floor(N/V)) times.
    `independent` draws each run on its own, the paper's literal reading.

    Args:
        n_patches: N.
        k: number of runs.
        strategy: "balanced" or "independent".
        seed: of the random generator.
        mask_ratio: share of masked patches.

    Returns:
        int64 [K, V], each row sorted ascending, values in [0, N).

    Raises:
        UsageError: K < 1, or an unknown strategy.
    """
    if k < 1:
        raise UsageError(f"K must be at least 1, got {k}")
    if strategy not in ("balanced", "independent"):
        raise UsageError(f"unknown mask strategy {strategy!r}: use 'balanced' or 'independent'")
    rng = np.random.default_rng(seed)
    v = visible_count(n_patches, mask_ratio)
    per_permutation = n_patches // v if strategy == "balanced" else 1
    rows: list[np.ndarray] = []
    while len(rows) < k:
        permutation = rng.permutation(n_patches)
        rows += [np.sort(permutation[i * v : (i + 1) * v]) for i in range(per_permutation)]
    return np.stack(rows[:k]).astype(np.int64)


def masked_from_visible(visible: np.ndarray, n_patches: int) -> np.ndarray:
    """Complement of each row: int64 [K, V] visible -> int64 [K, N - V] masked, sorted ascending."""
    everything = np.arange(n_patches)
    return np.stack([np.setdiff1d(everything, row, assume_unique=True) for row in visible]).astype(np.int64)
