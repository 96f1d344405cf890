"""Dynamic batching: images of all requests share inferences, through a queue that refuses instead of growing."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from ..records import Record
from ..sources import Prepared
from .problems import Problem

_log = logging.getLogger(__name__)
_SMOOTHING = 0.2
"""Weight of the newest inference in the running estimate of seconds per image."""
_LONGEST_RETRY = 30
"""Seconds: no client is told to stay away for longer."""


@dataclass(frozen=True)
class _Waiting:
    prepared: Prepared
    answer: asyncio.Future[Record]
    wanted: Callable[[], bool]


class Batcher:
    """Runs `score` (the detector's) in one thread of its own on up to `max_batch` images at a time.

    Slots are reserved before any work on an image is done and released when the work is over, so `pending` counts every
    image from its acceptance to its answer and never exceeds `capacity`. All methods belong to one event loop.
    """

    def __init__(
        self,
        score: Callable[[Sequence[Prepared]], list[Record]],
        *,
        max_batch: int,
        max_wait: float,
        capacity: int,
        observe: Callable[[int, float], None] = lambda size, seconds: None,
    ) -> None:
        self._score = score
        self._max_batch = max_batch
        self._max_wait = max_wait
        self._observe = observe
        self._queue: asyncio.Queue[_Waiting] = asyncio.Queue()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="infer")
        self._seconds_per_image = 0.05
        self._task: asyncio.Task[None] | None = None
        self.capacity = capacity
        self.pending = 0
        self.failure: str | None = None
        """Why the last inference failed; None when it went well."""

    def start(self) -> None:
        """Begin to serve; called in the event loop."""
        self._task = asyncio.get_running_loop().create_task(self._serve())

    async def stop(self, patience: float) -> None:
        """Answer everything that was accepted, then stop the thread; one that hangs is left after `patience` s."""
        until = time.monotonic() + patience
        while self.pending and time.monotonic() < until:
            await asyncio.sleep(0.005)
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        self._thread.shutdown(wait=not self.pending)

    def reserve(self, count: int) -> None:
        """Take `count` slots.

        Raises:
            Problem: 429 with the seconds after which there is probably room.
        """
        if self.pending + count > self.capacity:
            raise Problem(429, "the queue is full; try again later", retry_after=self.retry_after())
        self.pending += count

    def release(self) -> None:
        """Give one slot back."""
        self.pending -= 1

    def retry_after(self) -> int:
        """Whole seconds until about half of what waits is done."""
        return min(_LONGEST_RETRY, max(1, math.ceil(self.pending * self._seconds_per_image / 2)))

    async def submit(self, prepared: Prepared, wanted: Callable[[], bool] = lambda: True) -> Record:
        """Score one decoded image under a reserved slot.

        Args:
            wanted: asked just before inference; False drops the image (its client has gone).

        Raises:
            Problem: 503, the engine failed. asyncio.CancelledError: nobody wanted it any more.
        """
        answer: asyncio.Future[Record] = asyncio.get_running_loop().create_future()
        self._queue.put_nowait(_Waiting(prepared, answer, wanted))
        return await answer

    async def _serve(self) -> None:
        while True:
            batch = await self._collect()
            for waiting in batch:
                if not waiting.wanted():
                    waiting.answer.cancel()
            batch = [waiting for waiting in batch if not waiting.answer.done()]
            if batch:
                await self._answer(batch)

    async def _collect(self) -> list[_Waiting]:
        """The first image that comes, and what else comes within `max_wait`, up to `max_batch`."""
        batch = [await self._queue.get()]
        until = time.monotonic() + self._max_wait
        while len(batch) < self._max_batch:
            if not self._queue.empty():
                batch.append(self._queue.get_nowait())
                continue
            # Nobody else is on the way: waiting longer would only cost time.
            left = until - time.monotonic()
            if left <= 0 or self.pending <= len(batch):
                break
            try:
                batch.append(await asyncio.wait_for(self._queue.get(), left))
            except (asyncio.TimeoutError, TimeoutError):
                break
        return batch

    async def _answer(self, batch: list[_Waiting]) -> None:
        prepared = [waiting.prepared for waiting in batch]
        started = time.monotonic()
        try:
            records = await asyncio.get_running_loop().run_in_executor(self._thread, self._score, prepared)
        except Exception as error:  # whatever a driver throws: the server answers, and goes on
            self.failure = f"{type(error).__name__}: {error}"
            _log.error("inference failed: %s", self.failure)
            for waiting in batch:
                if not waiting.answer.done():
                    waiting.answer.set_exception(Problem(503, "the engine failed; see the server's log", retry_after=5))
            return
        seconds = time.monotonic() - started
        self.failure = None
        self._seconds_per_image += _SMOOTHING * (seconds / len(batch) - self._seconds_per_image)
        self._observe(len(batch), seconds)
        for waiting, record in zip(batch, records, strict=True):
            if not waiting.answer.done():
                waiting.answer.set_result(record)
