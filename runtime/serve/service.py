"""From uploads to records: decoding in threads, scoring in shared batches, time limits, orderly shutdown."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from ..core.golden import golden_image
from ..images.source import NamedSource
from ..scoring.detector import Detector
from ..scoring.prepare import Prepared
from ..scoring.record import Failure, Record
from .batcher import Batcher
from .logs import log
from .metrics import Metrics
from .options import ServeOptions
from .problems import Problem
from .uploads import ByteBudget

STATUS = {"too_large": 413, "unsupported": 415, "engine": 500}
"""HTTP status of a record by the kind of its error; 422 for the other kinds."""
ABANDONED = Failure("unreadable", "the request was abandoned")


def status_of(record: Record) -> int:
    """The HTTP status that a record alone would have."""
    return 200 if record.error is None else STATUS.get(record.error.kind, 422)


class Service:
    """A detector, its threads and its queue. All coroutines must run in the same event loop."""

    def __init__(self, detector: Detector, options: ServeOptions) -> None:
        self.detector = detector
        self.options = options
        self.batcher = Batcher(
            self._infer, max_batch=options.batch_size, max_wait=options.max_wait_ms / 1000,
            capacity=options.limits.max_queue, observe=lambda *inference: self.metrics.inference(*inference),
        )
        self.budget = ByteBudget(options.limits.max_buffered_bytes, self.batcher.retry_after)
        self.metrics = Metrics(detector.run.engine, lambda: self.batcher.pending, lambda: self.trouble() is None)
        self.draining = False
        self._started = False
        self._jobs: dict[object, tuple[str, float]] = {}
        """Kind and start of each job that a thread is busy with."""
        self._decoders = ThreadPoolExecutor(options.workers, thread_name_prefix="decode")
        # asyncio holds tasks weakly; those of an abandoned request must live until they release their slots.
        self._tasks: set[asyncio.Task[Record]] = set()

    async def start(self) -> None:
        """Warm the engine up, so that the first request is not slow, and start the batcher."""
        size = self.detector.manifest.preprocess.crop
        await asyncio.to_thread(self.detector.detect, golden_image(size))
        self.batcher.start()
        self._started = True

    async def stop(self) -> None:
        """Close the engine, once no image is in work; images that outlive their requests are abandoned."""
        self.draining = True
        await self.batcher.stop(self.options.last_seconds)
        self._decoders.shutdown(wait=not self.batcher.pending)
        if self.batcher.pending:
            log.warning("%d images do not end and are abandoned", self.batcher.pending)
        else:
            self.detector.close()

    def trouble(self) -> str | None:
        """Why a load balancer should not send requests here, None if it should."""
        if self.draining or not self._started:
            return "the server is stopping" if self.draining else "the server is starting"
        if self.batcher.failure is not None:
            return f"the engine failed: {self.batcher.failure}"
        for kind in ("decoder", "engine"):
            if (seconds := self._busy(kind)) > self.options.limits.request_timeout:
                return f"the {kind} is stuck: busy with one job for {seconds:.0f} s"
        return None

    def is_busy(self) -> bool:
        """Whether a thread is decoding or inferring."""
        return bool(self._jobs)

    @contextmanager
    def _job(self, kind: str) -> Iterator[None]:
        """The context is one job of a thread; a job that never ends is noticed by `trouble`."""
        key = object()
        self._jobs[key] = (kind, time.monotonic())
        try:
            yield
        finally:
            del self._jobs[key]

    def _busy(self, kind: str) -> float:
        """Seconds since the oldest job of a kind began that has not ended; 0 without such a job."""
        started = [began for other, began in list(self._jobs.values()) if other == kind]
        return time.monotonic() - min(started) if started else 0.0

    async def score(self, uploads: list[NamedSource], is_gone: Callable[[], bool]) -> list[Record]:
        """The record of each upload of one request, in order; `is_gone` tells that the client has left.

        Raises:
            Problem: 429 the queue has no room for all uploads; 503 the engine failed; 504 the time limit was exceeded.
        """
        self.batcher.check_room(len(uploads))
        self.batcher.pending += len(uploads)
        given_up = asyncio.Event()

        def wanted() -> bool:
            return not given_up.is_set() and not is_gone()

        tasks = [asyncio.create_task(self._one(upload, wanted)) for upload in uploads]
        for task in tasks:
            self._tasks.add(task)
            task.add_done_callback(self._ended)
        limit = self.options.limits.request_timeout
        try:
            _, late = await asyncio.wait(tasks, timeout=limit)
        finally:
            # Threads cannot be interrupted: the tasks end at their next step and release their slots then.
            given_up.set()
        if late:
            raise Problem(504, f"not scored within {limit:g} s; send fewer or smaller images")
        if any(task.cancelled() for task in tasks):
            raise Problem(400, "the client closed the connection before the response")
        records = [task.result() for task in tasks]
        for record in records:
            self.metrics.image(record)
        return records

    def _ended(self, task: asyncio.Task[Record]) -> None:
        """Forget a task, and retrieve its exception, which asyncio would log otherwise."""
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()

    async def _one(self, upload: NamedSource, wanted: Callable[[], bool]) -> Record:
        try:
            prepared = await asyncio.get_running_loop().run_in_executor(self._decoders, self._decode, upload, wanted)
            if prepared.error is not None:
                return self.detector.score([prepared])[0]
            return await self.batcher.submit(prepared, wanted)
        finally:
            self.batcher.pending -= 1

    def _infer(self, images: Sequence[Prepared]) -> list[Record]:
        with self._job("engine"):
            return self.detector.score(images)

    def _decode(self, upload: NamedSource, wanted: Callable[[], bool]) -> Prepared:
        if not wanted():
            return Prepared(upload.name, error=ABANDONED)
        started = time.monotonic()
        with self._job("decoder"):
            prepared = self.detector.prepare(upload)
        self.metrics.decoded(time.monotonic() - started)
        return prepared
