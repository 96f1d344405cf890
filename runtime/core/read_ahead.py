"""Work in threads ahead of its consumer: results in order, memory bounded by a window."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def read_ahead(
    pool: ThreadPoolExecutor, function: Callable[[Item], Result], items: Iterable[Item], window: int
) -> Iterator[tuple[Item, Future[Result]]]:
    """Compute `function(item)` in `pool`, at most `window` items ahead of the consumer.

    Args:
        pool: the threads.
        function: called once an item; what it raises is raised by the future's `result`.
        items: read lazily.
        window: items submitted and not yet handed on, at least 1.

    Yields:
        Each item with the future of its result, in the order of `items`.
    """
    pending: deque[tuple[Item, Future[Result]]] = deque()
    for item in items:
        pending.append((item, pool.submit(function, item)))
        if len(pending) >= window:
            yield pending.popleft()
    yield from pending
