"""`--processes`: decoding in processes, for an engine so fast that decoding threads wait for the interpreter's lock.

Each decoding thread hands a file to a process of its own and waits for it, so the pipeline stays as it is. The pixels
come back in memory that both share, everything else through a pipe. A process that dies is replaced, and its file is
decoded again; at the second death the file gets an error. Only files are sent: other inputs, images so large that many
at the same time would fill the memory, and all of them where no process can be started, are decoded by the thread.
"""

from __future__ import annotations

import logging
import multiprocessing
import queue
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from os import PathLike
from typing import Any

import numpy as np

from ..core.errors import TooLargeError
from ..core.rows import Row, Rows
from ..core.text import display_name
from ..images.decode import IN_FLIGHT
from ..images.library_messages import silence_libraries
from ..images.source import AnySource, NamedSource
from .prepare import Prepared, Preparer

DIED = "the decoding process died twice at this file ({}): not enough memory, or a fault of a decoder; score it alone"
CLOSED = "the run has ended"
_ELSEWHERE = np.empty(0, np.uint8)
"""In the place of pixels that lie in shared memory."""

_log = logging.getLogger(__name__)


class DecodeProcesses:
    """Decoding processes, one for each thread that calls `prepare`; they are started when they are needed.

    Closing ends them; whoever waits for one gets a `Prepared` with an error.
    """

    def __init__(self, preparer: Preparer, rows: Rows, workers: int) -> None:
        """Start nothing yet.

        Args:
            preparer: decodes, here and in the processes.
            rows: of shared memory; `prepare` takes rows of it.
            workers: threads that will call `prepare`.
        """
        self._preparer = preparer
        share = min(preparer.max_pixels, IN_FLIGHT.pixels // workers)
        remote = replace(preparer, max_pixels=share, passes_on_large=True)
        self._idle: queue.LifoQueue[_Decoder] = queue.LifoQueue()
        self._decoders = [_Decoder(remote, rows) for _ in range(workers)]
        for decoder in self._decoders:
            self._idle.put(decoder)

    def __enter__(self) -> DecodeProcesses:
        return self

    def __exit__(self, *error: object) -> None:
        for decoder in self._decoders:
            decoder.close()

    def prepare(self, source: AnySource, row: Row | None = None) -> Prepared:
        """As `Preparer.__call__`."""
        named = source if isinstance(source, NamedSource) else None
        is_file = isinstance(source if named is None else named.source, (str, PathLike))
        if not is_file or (named is not None and named.error is not None) or row is None or row.index is None:
            return self._preparer(source, row)
        decoder = self._idle.get()
        try:
            prepared = decoder.decode(source, row.index)
        finally:
            self._idle.put(decoder)
        if prepared is None:
            return self._preparer(source, row)
        return prepared.with_crops(row.beside(prepared.crops)) if prepared.frames else prepared


class _Decoder:
    """One process at a time, and its replacements. `decode` is called by one thread at a time, `close` by any."""

    def __init__(self, preparer: Preparer, rows: Rows) -> None:
        self._preparer, self._rows = preparer, rows
        self._process: SpawnProcess | None = None
        self._pipe: Connection | None = None
        self._starts, self._closed = True, False
        self._lock = threading.Lock()

    def decode(self, source: AnySource, index: int) -> Prepared | None:
        """Decode a file into a row of the shared memory.

        Returns:
            The input, its first crop without pixels; None where this process has to decode it.
        """
        name = display_name(source.name if isinstance(source, NamedSource) else str(source))
        reason = ""
        for _ in range(2):
            if not self._ready():
                if self._closed or reason:
                    break
                return None
            assert self._pipe is not None
            try:
                self._pipe.send((source, index))
                prepared: Prepared | None = self._pipe.recv()
                return prepared
            except (EOFError, OSError):
                reason = self._end()
        return Prepared(name, error=CLOSED if self._closed else DIED.format(reason))

    def _ready(self) -> bool:
        """Whether there is a process, after starting one where there is none."""
        if self._process is not None:
            return not self._closed
        context = multiprocessing.get_context("spawn")
        try:
            with self._lock:
                if self._closed or not self._starts:
                    return False
                self._pipe, theirs = context.Pipe()
                arguments = (theirs, self._rows.shared, self._rows.memory.shape, self._preparer)
                process = context.Process(target=_serve, args=arguments, name="cinemae-decode", daemon=True)
                with theirs, _without_interrupts():  # closed here: else its end would go unnoticed
                    process.start()
                self._process = process
            self._pipe.recv()
        except (EOFError, OSError) as error:
            self._starts = False
            reason = str(error) if self._process is None else self._end()
            if not self._closed:
                _log.warning("a decoding process cannot be started (%s): its files are decoded in a thread", reason)
            return False
        return True

    def _end(self) -> str:
        """Clear away a process that has died, and say how."""
        assert self._process is not None
        assert self._pipe is not None
        self._process.kill()
        self._process.join()
        code = self._process.exitcode or 0
        self._pipe.close()
        self._process = self._pipe = None
        return f"signal {-code}" if code < 0 else f"exit code {code}"

    def close(self) -> None:
        """End the process at once, also while it decodes; a thread that waits for it notices."""
        with self._lock:
            self._closed = True
            process = self._process
        if process is not None:
            process.kill()
            process.join()


@contextmanager
def _without_interrupts() -> Iterator[None]:
    """A process that is started meanwhile never gets the Ctrl-C that a terminal sends to all of them: this one ends it.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _serve(pipe: Connection, shared: Any, shape: tuple[int, ...], preparer: Preparer) -> None:
    """The life of a decoding process: it ends when the other end of the pipe is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    silence_libraries()
    images = np.frombuffer(shared, np.uint8).reshape(shape)
    with suppress(EOFError, OSError):
        pipe.send(None)
        while True:
            source, index = pipe.recv()
            try:
                prepared = preparer(source)
            except TooLargeError:
                pipe.send(None)
                continue
            if prepared.frames:
                first, *others = prepared.crops
                images[index] = first
                prepared = prepared.with_crops([_ELSEWHERE, *others])
            pipe.send(prepared)
