"""Decoding in threads ahead of inference: bounded memory, batches across inputs, results in input order.

Four stages overlap: worker threads decode a window of inputs, one thread begins inferences, one waits for outputs and
makes records, and the caller consumes them. An engine on the CPU computes in the second stage, a GPU between it and the
third, with a batch in flight behind the one that it computes. Batches are filled by count alone and in input order, so
the same command forms the same batches every time. `detector.Detector` supplies the functions.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from ..core.environment import usable_cpus
from ..core.errors import UsageError
from ..core.read_ahead import read_ahead, stop_with
from ..images.source import AnySource
from .prepare import Prepared
from .record import Record

Prepare = Callable[[AnySource], Prepared]
"""Decodes one input; never raises for a bad one."""
Begin = Callable[[Sequence[Prepared]], Callable[[], list[Record]]]
"""Begins to score one batch; the function it returns is called once, and makes a record for each input, in order."""

BATCHES_AHEAD = 2
"""Decoded batches waiting for the engine: one is formed while one runs; more only costs memory."""


@dataclass(frozen=True)
class Scored:
    """A record with its input.

    Attributes:
        record: the result.
        prepared: the input after decoding; `prepared.picture(record)` is what the network saw, if anything.
        source: the input as it was given.
    """

    record: Record
    prepared: Prepared
    source: AnySource


def decode_and_score(
    sources: Iterable[AnySource], prepare: Prepare, begin: Begin, batch_size: int, workers: int | None = None
) -> Generator[Scored, None, None]:
    """Score `sources`, reading them lazily and at most a few batches ahead.

    Args:
        sources: the images.
        prepare: decodes one of them, in the decoding threads; usually `Detector.prepare`.
        begin: begins to score one batch, in a thread of its own; usually `Detector.begin`.
        batch_size: decodable images in one inference.
        workers: decoding threads, None for one per CPU.

    Returns:
        one `Scored` for each source, in order; closing the generator stops the threads.

    Raises:
        UsageError: batch size or workers below 1.
        EngineError, MissingDependencyError: the engine fails; records already yielded stand.
    """
    workers = usable_cpus() if workers is None else workers
    if batch_size < 1 or workers < 1:
        raise UsageError(f"batch size and workers must be at least 1, got {batch_size} and {workers}")
    return _scored(sources, prepare, begin, batch_size, workers)


def _scored(
    sources: Iterable[AnySource], prepare: Prepare, begin: Begin, batch_size: int, workers: int
) -> Generator[Scored, None, None]:
    stop = threading.Event()
    decoders = ThreadPoolExecutor(workers, "cinemae-decode", initializer=stop_with, initargs=(stop,))
    engine = ThreadPoolExecutor(1, thread_name_prefix="cinemae-infer")
    finisher = ThreadPoolExecutor(1, thread_name_prefix="cinemae-records")
    running: deque[tuple[list[AnySource], list[Prepared], Future[list[Record]]]] = deque()
    try:
        ahead = read_ahead(decoders, prepare, sources, batch_size * BATCHES_AHEAD + workers)
        decoded = ((source, future.result()) for source, future in ahead)
        for batch_sources, batch in _batches(decoded, batch_size):
            begun = engine.submit(begin, batch)
            running.append((batch_sources, batch, finisher.submit(_finish, begun)))
            # finished batches are handed on at once; at most BATCHES_AHEAD wait for the engine
            while running and (len(running) > BATCHES_AHEAD or running[0][2].done()):
                yield from _results(*running.popleft())
        while running:
            yield from _results(*running.popleft())
    finally:
        stop.set()  # a long animation would keep the process from ending
        decoders.shutdown(wait=False, cancel_futures=True)
        engine.shutdown(wait=False, cancel_futures=True)
        finisher.shutdown(wait=True)  # takes the outputs of every batch that was begun, which frees its place
        engine.shutdown(wait=True)


def _finish(begun: Future[Callable[[], list[Record]]]) -> list[Record]:
    return begun.result()()


def _batches(
    decoded: Iterable[tuple[AnySource, Prepared]], batch_size: int
) -> Iterator[tuple[list[AnySource], list[Prepared]]]:
    """Batches of `batch_size` decoded images. Failed inputs stay in order; many in a row end the batch early."""
    sources: list[AnySource] = []
    batch: list[Prepared] = []
    images = 0
    for source, prepared in decoded:
        sources.append(source)
        batch.append(prepared)
        images += bool(prepared.frames)
        if images == batch_size or len(batch) == 4 * batch_size:
            yield sources, batch
            sources, batch, images = [], [], 0
    if batch:
        yield sources, batch


def _results(sources: list[AnySource], batch: list[Prepared], future: Future[list[Record]]) -> Iterator[Scored]:
    for source, prepared, record in zip(sources, batch, future.result(), strict=True):
        yield Scored(record, prepared, source)
