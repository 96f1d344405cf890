"""Work in threads ahead of its consumer: results in order, memory bounded; an end once nobody wants them."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

_of_thread = threading.local()
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


class Stopped(BaseException):
    """The thread's work is no longer wanted. No `except Exception` takes that for damage of an input."""


def stop_with(event: threading.Event) -> None:
    """Let the work of this thread end once `event` is set: the `initializer` of a pool."""
    _of_thread.event = event


def check_stop() -> None:
    """Raise Stopped if the event of this thread is set; a thread without an event goes on."""
    event: threading.Event | None = getattr(_of_thread, "event", None)
    if event is not None and event.is_set():
        raise Stopped
