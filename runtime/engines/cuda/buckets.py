"""Batch sizes that get a CUDA graph of their own, and the optimisation profiles of a plan."""

from __future__ import annotations


def buckets(smallest: int, largest: int) -> list[int]:
    """The powers of two from `smallest` to `largest`, and both ends, ascending."""
    powers = (2**i for i in range(largest.bit_length()))
    return sorted({smallest, largest, *(size for size in powers if smallest < size < largest)})


def bucket_of(batch: int, sizes: list[int]) -> int:
    """The smallest of `sizes`, which are ascending, that holds `batch` images."""
    return next(size for size in sizes if size >= batch)


def profiles(batch: tuple[int, int, int]) -> tuple[tuple[int, int, int], ...]:
    """Optimisation profiles of a plan, each (smallest, best, largest): one for all batches, one for small ones.

    The first admits every batch, so that programs that know one profile only can use the plan. The second is tuned for
    the smallest batch and ends at half the best one; it is left out where that is no batch.

    Args:
        batch: smallest, best and largest batch of the plan.
    """
    smallest, best, _ = batch
    return (batch, (smallest, smallest, best // 2)) if best // 2 >= smallest else (batch,)
