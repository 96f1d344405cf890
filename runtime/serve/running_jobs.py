"""How long threads have been busy with their jobs; one that never ends is otherwise noticed by nobody."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager


class RunningJobs:
    """The jobs that threads of one kind are busy with. All methods may be called in any thread."""

    def __init__(self) -> None:
        self._started: dict[object, float] = {}
        self._lock = threading.Lock()

    @contextmanager
    def job(self) -> Iterator[None]:
        """The context is one job."""
        key = object()
        with self._lock:
            self._started[key] = time.monotonic()
        try:
            yield
        finally:
            with self._lock:
                del self._started[key]

    def oldest(self) -> float:
        """Seconds since the oldest job began that has not ended; 0 without one."""
        with self._lock:
            started = min(self._started.values(), default=None)
        return 0.0 if started is None else time.monotonic() - started
