"""Batch sizes for which a plan's CUDA graphs are captured."""


def buckets(smallest: int, largest: int) -> list[int]:
    """The powers of two from `smallest` to `largest`, and both ends, ascending."""
    powers = (2**i for i in range(largest.bit_length()))
    return sorted({smallest, largest, *(size for size in powers if smallest < size < largest)})
