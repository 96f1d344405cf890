"""Mask sets: sizes, order, coverage, reproducibility."""

import numpy as np
import pytest
from cinemae.runtime.core.errors import UsageError
from cinemae.runtime.core.masks import draw_visible, masked_from_visible, visible_count
from hypothesis import given
from hypothesis import strategies as st

STRATEGIES = ("balanced", "independent")


def test_a_quarter_is_visible():
    assert (visible_count(196), visible_count(256), visible_count(16)) == (49, 64, 4)


@given(
    n=st.sampled_from([16, 49, 196, 256]),
    k=st.integers(1, 13),
    strategy=st.sampled_from(STRATEGIES),
    seed=st.integers(0, 2**32),
)
def test_rows_are_sorted_distinct_and_complete(n, k, strategy, seed):
    visible = draw_visible(n, k, strategy, seed)
    masked = masked_from_visible(visible, n)
    v = visible_count(n)
    assert (visible.shape, masked.shape) == ((k, v), (k, n - v))
    assert visible.dtype == masked.dtype == np.int64
    for seen, hidden in zip(visible, masked, strict=True):
        assert (np.diff(seen) > 0).all()
        assert (np.diff(hidden) > 0).all()
        assert sorted([*seen, *hidden]) == list(range(n))


@given(n=st.sampled_from([16, 49, 196, 256]), k=st.integers(1, 13), seed=st.integers(0, 2**32))
def test_balanced_masks_every_patch_often_enough(n, k, seed):
    visible = draw_visible(n, k, "balanced", seed)
    times_masked = k - np.bincount(visible.ravel(), minlength=n)
    assert times_masked.min() >= k - -(-k // 4)
    for start in range(0, k, 4):
        chosen = visible[start : start + 4].ravel()
        assert len(set(chosen)) == len(chosen)


def test_balanced_partitions_are_fresh_and_the_paper_reading_leaves_holes():
    visible = draw_visible(196, 8, "balanced", 0)
    assert {tuple(row) for row in visible[:4]} != {tuple(row) for row in visible[4:]}
    holes = [len(set(a) & set(b)) for a, b in (draw_visible(196, 2, "independent", seed) for seed in range(50))]
    assert 10 < np.mean(holes) < 15  # 196 / 16 = 12.25 patches are seen in both runs


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_the_seed_decides(strategy):
    first, again, other = (draw_visible(196, 4, strategy, seed) for seed in (3, 3, 4))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_more_runs_begin_with_the_same_ones(strategy):
    assert np.array_equal(draw_visible(196, 6, strategy, 1)[:2], draw_visible(196, 2, strategy, 1))


def test_nonsense_is_refused():
    with pytest.raises(UsageError, match="at least 1"):
        draw_visible(196, 0, "balanced", 0)
    with pytest.raises(UsageError, match="unknown mask strategy"):
        draw_visible(196, 2, "striped", 0)  # type: ignore[arg-type]
