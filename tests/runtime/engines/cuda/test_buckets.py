"""Batch sizes with a CUDA graph of their own, and the profiles of a plan."""

from cinemae.runtime.engines.cuda.buckets import bucket_of, buckets, profiles


def test_buckets_and_profiles():
    assert buckets(1, 32) == [1, 2, 4, 8, 16, 32]
    assert buckets(3, 12) == [3, 4, 8, 12]
    assert [bucket_of(n, [3, 4, 8]) for n in (1, 3, 5, 8)] == [3, 3, 8, 8]
    assert profiles((1, 8, 32)) == ((1, 8, 32), (1, 1, 4))
    assert profiles((4, 6, 32)) == ((4, 6, 32),)
    assert profiles((1, 1, 4)) == ((1, 1, 4),)
