"""From uploads to records: decoding in threads, scoring in shared batches, time limits, orderly shutdown."""

from __future__ import annotations

import asyncio
import io
import logging
import time
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from PIL import Image

from ..core.golden import golden_image
from ..images.source import NamedSource
from ..scoring.detector import Detector
from ..scoring.prepare import Prepared
from ..scoring.record import Record
from .batcher import Batcher
from .metrics import Metrics
from .problems import Problem
from .running_jobs import RunningJobs
from .settings import ServeSettings
from .uploads import ByteBudget, Upload

_log = logging.getLogger(__name__)
TOO_LARGE, NOT_AN_IMAGE, UNREADABLE = 413, 415, 422


@dataclass(frozen=True)
class ScoredUpload:
    """The record of one upload.

    Attributes:
        record: the record.
        code: 200, or the HTTP status of the error: 413 too large, 415 not an image, 422 damaged.
    """

    record: Record
    code: int = 200


def error_status(data: bytes, max_pixels: int, max_bytes: int) -> int:
    """The HTTP status for an upload that could not be decoded, from its size and its header."""
    if len(data) > max_bytes:
        return TOO_LARGE
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(data)) as image:
                return TOO_LARGE if image.width * image.height > max_pixels else UNREADABLE
    except Image.DecompressionBombError:
        return TOO_LARGE
    except Image.UnidentifiedImageError:
        return NOT_AN_IMAGE
    except Exception:  # damaged headers make Pillow raise many kinds
        return UNREADABLE


class Service:
    """A detector, its threads and its queue. All coroutines must run in the same event loop."""

    def __init__(self, detector: Detector, settings: ServeSettings) -> None:
        limits = settings.limits
        self.detector = detector
        self.settings = settings
        self.budget = ByteBudget(limits.max_buffered_bytes)
        self.batcher = Batcher(
            self._infer, max_batch=settings.max_batch, max_wait=settings.max_wait, capacity=limits.max_queue,
            observe=lambda size, seconds: self.metrics.inference(size, seconds),
        )
        self.metrics = Metrics(detector.label, lambda: self.batcher.pending, self.is_ready)
        self.draining = False
        self._started = False
        self._decoding, self._inferring = RunningJobs(), RunningJobs()
        self._decoders = ThreadPoolExecutor(settings.workers, thread_name_prefix="decode")
        # asyncio holds tasks weakly; those of an abandoned request must live until they release their slots.
        self._tasks: set[asyncio.Task[ScoredUpload]] = set()

    async def start(self) -> None:
        """Warm the engine up, so that the first request is not slow, and start the batcher."""
        size = self.detector.manifest.preprocess.crop
        await asyncio.to_thread(self.detector.detect, golden_image(size))
        self.batcher.start()
        self._started = True

    async def stop(self) -> None:
        """Close the engine, once no image is in work; images that outlive their requests are abandoned."""
        self.draining = True
        await self.batcher.stop(self.settings.last_seconds)
        self._decoders.shutdown(wait=not self.batcher.pending)
        if self.batcher.pending:
            _log.warning("%d images do not end and are abandoned", self.batcher.pending)
        else:
            self.detector.close()

    def trouble(self) -> str | None:
        """Why a load balancer should not send requests here, None if it should."""
        if self.draining or not self._started:
            return "the server is stopping" if self.draining else "the server is starting"
        if self.batcher.failure is not None:
            return f"the engine failed: {self.batcher.failure}"
        for what, jobs in (("decoder", self._decoding), ("engine", self._inferring)):
            if (seconds := jobs.oldest()) > self.settings.limits.request_timeout:
                return f"the {what} is stuck: busy with one job for {seconds:.0f} s"
        return None

    def is_busy(self) -> bool:
        """Whether a thread is decoding or inferring."""
        return max(self._decoding.oldest(), self._inferring.oldest()) > 0

    def is_ready(self) -> bool:
        """Whether a load balancer should send requests here."""
        return self.trouble() is None

    def check_room(self) -> None:
        """Reject a request before its body is read if the queue is full.

        Raises:
            Problem: 429.
        """
        if self.batcher.pending >= self.batcher.capacity:
            raise Problem(429, "the queue is full; try again later", retry_after=self.batcher.retry_after())

    async def score(self, uploads: list[Upload], is_gone: Callable[[], bool] = lambda: False) -> list[ScoredUpload]:
        """Score the uploads of one request.

        Args:
            uploads: the images.
            is_gone: returns True once the client has closed the connection; images that are not yet scored are then
                dropped.

        Returns:
            one result for each upload, in order.

        Raises:
            Problem: 429 the queue has no room for all uploads; 503 the engine failed; 504 the time limit was exceeded.
        """
        self.batcher.reserve(len(uploads))
        given_up = asyncio.Event()

        def wanted() -> bool:
            return not given_up.is_set() and not is_gone()

        tasks = [asyncio.create_task(self._one(upload, wanted)) for upload in uploads]
        for task in tasks:
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        limit = self.settings.limits.request_timeout
        try:
            done, late = await asyncio.wait(tasks, timeout=limit)
        finally:
            # Threads cannot be interrupted: the tasks end at their next step and release their slots then.
            given_up.set()
        for task in late:
            task.add_done_callback(_ignore)
        if late:
            for task in done:
                _ignore(task)
            raise Problem(504, f"not scored within {limit:g} s; send fewer or smaller images", retry_after=None)
        results = await asyncio.gather(*tasks, return_exceptions=True)
        for result in results:
            if isinstance(result, asyncio.CancelledError):
                raise Problem(400, "the client closed the connection before the response")
            if isinstance(result, BaseException):
                raise result
        scored = [result for result in results if isinstance(result, ScoredUpload)]
        for item in scored:
            self.metrics.image(item.record)
        return scored

    async def _one(self, upload: Upload, wanted: Callable[[], bool]) -> ScoredUpload:
        try:
            loop = asyncio.get_running_loop()
            prepared, code = await loop.run_in_executor(self._decoders, self._decode, upload, wanted)
            if prepared.image is None:
                return ScoredUpload(self.detector.score([prepared])[0], code)
            record = await self.batcher.submit(prepared, wanted)
            return ScoredUpload(record, 200 if record.status == "ok" else UNREADABLE)
        finally:
            self.batcher.release()

    def _infer(self, images: Sequence[Prepared]) -> list[Record]:
        with self._inferring.job():
            return self.detector.score(images)

    def _decode(self, upload: Upload, wanted: Callable[[], bool]) -> tuple[Prepared, int]:
        limits = self.settings.limits
        if not wanted():
            return Prepared(upload.name, error="the request was abandoned"), UNREADABLE
        started = time.monotonic()
        size, bound = len(upload.data), limits.max_file_bytes
        error = f"{upload.name}: {size:,} bytes is more than {bound:,}" if size > bound else None
        with self._decoding.job():
            prepared = self.detector.prepare(NamedSource(upload.name, upload.data, error))
            self.metrics.decoded(time.monotonic() - started)
            if prepared.image is not None:
                return prepared, 200
            return prepared, error_status(upload.data, limits.max_pixels, limits.max_file_bytes)


def _ignore(task: asyncio.Task[ScoredUpload]) -> None:
    """Retrieve a task's exception, so that asyncio does not log it as never retrieved."""
    if not task.cancelled():
        task.exception()
