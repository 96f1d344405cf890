"""Dynamic batching: images of all requests are scored together, from a bounded queue that rejects when it is full."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from ..scoring.prepare import Prepared
from ..scoring.record import Record
from .logs import log, request_id
from .problems import Problem

_SMOOTHING = 0.2
"""Weight of the latest inference in the moving average of the seconds per image."""
_LONGEST_RETRY = 30
"""Largest Retry-After, in seconds."""


class _Waiting(NamedTuple):
    prepared: Prepared
    answer: asyncio.Future[Record]
    wanted: Callable[[], bool]
    request: str


class Batcher:
    """Scores images in batches, in one thread.

    A slot is reserved for an image before it is decoded, so that `pending` never exceeds `capacity`; who answers the
    request frees it. All methods must be called in the same event loop.

    Attributes:
        capacity: largest number of pending images.
        pending: images that were accepted and are not yet answered.
        failure: why the last inference failed; None if it succeeded.
    """

    def __init__(
        self, score: Callable[[Sequence[Prepared]], list[Record]], *, max_batch: int, max_wait: float, capacity: int,
        observe: Callable[[int, float], None],
    ) -> None:
        """`score` gets up to `max_batch` images that come within `max_wait` seconds, `observe` its size and seconds."""
        self._score, self._observe = score, observe
        self._max_batch, self._max_wait = max_batch, max_wait
        self._queue: asyncio.Queue[_Waiting] = asyncio.Queue()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="infer")
        self._seconds_per_image = 0.05
        self._task: asyncio.Task[None] | None = None
        self.capacity = capacity
        self.pending = 0
        self.failure: str | None = None

    def start(self) -> None:
        """Start the task that forms batches."""
        self._task = asyncio.create_task(self._serve())

    async def stop(self, timeout: float) -> None:
        """Answer all accepted images, then stop the thread; a thread that hangs is left behind after `timeout` s."""
        until = time.monotonic() + timeout
        while self.pending and time.monotonic() < until:
            await asyncio.sleep(0.005)
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        self._thread.shutdown(wait=not self.pending)

    def check_room(self, count: int) -> None:
        """Raise Problem, 429 with an estimate of the seconds until there is room, where `count` slots are not free."""
        if self.pending + count > self.capacity:
            raise Problem(429, "the queue is full; try again later", retry_after=self.retry_after())

    def retry_after(self) -> int:
        """Estimated whole seconds until half of the pending images are answered."""
        return min(_LONGEST_RETRY, max(1, math.ceil(self.pending * self._seconds_per_image / 2)))

    async def submit(self, prepared: Prepared, wanted: Callable[[], bool]) -> Record:
        """Score one decoded image, for which a slot is reserved.

        Args:
            prepared: the image.
            wanted: called just before inference; the image is dropped if it returns False, because the client has
                closed the connection or the request has timed out.

        Raises:
            Problem: 503, the engine failed.
            asyncio.CancelledError: the image was dropped.
        """
        waiting = _Waiting(prepared, asyncio.get_running_loop().create_future(), wanted, request_id.get())
        self._queue.put_nowait(waiting)
        return await waiting.answer

    async def _serve(self) -> None:
        while True:
            batch = await self._collect()
            for waiting in batch:
                if not waiting.wanted():
                    waiting.answer.cancel()
            if batch := [waiting for waiting in batch if not waiting.answer.done()]:
                await self._answer(batch)

    async def _collect(self) -> list[_Waiting]:
        """Wait for an image, then for further ones until there are `max_batch` or `max_wait` seconds have passed."""
        batch = [await self._queue.get()]
        until = time.monotonic() + self._max_wait
        while len(batch) < self._max_batch:
            if not self._queue.empty():
                batch.append(self._queue.get_nowait())
                continue
            # If no other image is being decoded, waiting would only add latency.
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
        except Exception as error:  # drivers raise many kinds; the server answers 503 and goes on
            self.failure = f"{type(error).__name__}: {error}"
            requests = sorted({waiting.request for waiting in batch})
            log.error("inference failed: %s", self.failure, extra={"fields": {"requests": requests}})
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
