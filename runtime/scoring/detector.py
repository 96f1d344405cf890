"""`Detector`: engine, preprocessing, calibration and verdict. Commands, server and Ray all score through it."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ..core.errors import EngineError, UsageError
from ..core.manifest import Manifest
from ..engines.base import Engine, EngineOutput, joined
from ..engines.load import best_batch, load_engine, read_engine_manifest, resolve
from ..images.source import AnySource
from ..images.walk import walk
from .options import ScoringOptions
from .pipeline import decode_and_score
from .prepare import SOURCES, Prepared, Preparer
from .record import Record
from .verdict import record_of, run_of

DEFAULT_BATCH = 8
"""Images of one inference, where the engine's file names no best number."""


class Detector:
    """Scores images with one engine.

    Thread safety: a Detector may be shared between threads. Decoding runs in parallel; calls into the engine are
    serialised by a lock, because GPU backends reuse their buffers. `close` waits for a running inference.

    Attributes:
        manifest: of the engine; its `preprocess` is that of the run.
        options: of the run.
        run: what all records have in common.
        best_batch: images of one inference, unless the caller chooses.
    """

    def __init__(
        self, engine: Engine | Future[Engine] | None = None, manifest: Manifest | None = None,
        options: ScoringOptions | None = None, best_batch: int = DEFAULT_BATCH,
    ) -> None:
        if engine is None or manifest is None:
            raise UsageError("Detector() wraps a loaded engine; Detector.load() opens the bundled one or a file")
        self.options = options or ScoringOptions()
        self._engine = engine
        self.best_batch = best_batch
        self._lock = threading.Lock()
        self._closed = False
        self.run = run_of(manifest, self.options)
        self.prepare = Preparer.of(manifest, self.options)
        self.manifest = self.prepare.manifest

    @classmethod
    def load(
        cls, engine: str | Path | ScoringOptions | None = None, *, background: bool = False, **options: Any
    ) -> Detector:
        """Load an engine; None is the bundled demonstration engine.

        Args:
            engine: as for `load_engine`, or all options in one object.
            background: return as soon as the manifest is read; the first inference waits for the engine. The error
                of an engine that cannot be used is then raised there, or by `wait`.
            options: fields of `ScoringOptions`.

        Raises:
            EngineError: missing, damaged, foreign, or not fit for this machine.
            MissingDependencyError: the backend or the device is not usable here.
            UsageError: an option has a value that is not allowed.
        """
        if not isinstance(engine, ScoringOptions):
            engine = ScoringOptions(engine=engine, **options)
        elif options:
            raise UsageError(f"give {', '.join(options)} as fields of the ScoringOptions")
        chosen, path = engine, resolve(engine.engine)
        batch = best_batch(path) or DEFAULT_BATCH
        if not background:
            loaded = load_engine(path, chosen.device, chosen.threads, chosen.precision)
            return cls(loaded, loaded.manifest, chosen, batch)
        future: Future[Engine] = Future()
        detector = cls(future, read_engine_manifest(path), chosen, batch)

        def load() -> None:
            try:
                future.set_result(load_engine(path, chosen.device, chosen.threads, chosen.precision))
            except BaseException as error:
                future.set_exception(error)

        threading.Thread(target=load, name="cinemae-load-engine", daemon=True).start()
        return detector

    def wait(self) -> Engine:
        """The loaded engine; waits for a background load.

        Raises:
            EngineError, MissingDependencyError: the engine cannot be used.
        """
        if isinstance(self._engine, Future):
            self._engine = self._engine.result()
        return self._engine

    def __repr__(self) -> str:
        state = "closed" if self._closed else "loading" if isinstance(self._engine, Future) else self._engine.provider
        return f"<Detector {self.run.engine}: {state}>"

    def __enter__(self) -> Detector:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Free the engine; calling it twice is harmless, scoring afterwards raises EngineError.

        An engine that is still loading in the background is waited for: a process that ends meanwhile would crash.
        """
        with self._lock:
            if not self._closed:
                self._closed = True
                engine = self._engine
                if not isinstance(engine, Future):
                    engine.close()
                elif engine.exception() is None:
                    engine.result().close()

    def detect(self, source: AnySource) -> Record:
        """Score one image: a path, bytes, a Pillow image, or a uint8/uint16 array [H, W], [H, W, 3] or [H, W, 4].

        An image that cannot be read gives a record with status "error", not an exception.

        Raises:
            EngineError: the engine fails or is closed.
        """
        return self.score([self.prepare(source)])[0]

    def detect_folder(
        self, folder: str | Path, batch_size: int | None = None, workers: int | None = None
    ) -> Iterator[Record]:
        """Score the image files below a folder, as `cinemae run FOLDER` finds them; otherwise as `detect_many`.

        Raises:
            UsageError: no such folder.
        """
        if not os.path.isdir(folder):
            raise UsageError(f"{os.fspath(folder)}: no such folder")
        return self.detect_many(walk(os.fspath(folder)), batch_size, workers)

    def detect_many(
        self, sources: Iterable[AnySource], batch_size: int | None = None, workers: int | None = None
    ) -> Iterator[Record]:
        """Score any number of images, lazily: one record each, in order, decoding in threads ahead of inference.

        Args:
            sources: as for `detect`; may be endless, it is read only a few batches ahead. A path of a folder: its
                images.
            batch_size: images in one inference, None for the engine's best number.
            workers: decoding threads, None for one per CPU.

        Raises:
            UsageError: batch size or workers below 1.
            EngineError: the engine fails or is closed; records already yielded stand.
            TypeError: one image in place of many.
        """
        if isinstance(sources, (str, os.PathLike)) and os.path.isdir(sources):
            return self.detect_folder(sources, batch_size, workers)
        if isinstance(sources, SOURCES) and getattr(sources, "ndim", 0) != 4:  # an array [B, H, W, 3] holds many
            raise TypeError("detect_many takes many images, or a folder; detect(source) scores one image")
        size = self.best_batch if batch_size is None else batch_size
        return (item.record for item in decode_and_score(sources, self.prepare, self.begin, size, workers))

    def score(self, prepared: Sequence[Prepared]) -> list[Record]:
        """Infer one batch and make its records, in order; inputs with an error or a previous record are not inferred.

        Raises:
            EngineError: the engine fails even on a single image, or is closed.
        """
        return self.begin(prepared)()

    def begin(self, prepared: Sequence[Prepared]) -> Callable[[], list[Record]]:
        """Begin the inference of one batch, which an engine on the CPU also finishes.

        Returns:
            A function that waits for the outputs and makes the records as `score` does; it must be called once.

        Raises:
            EngineError: as `score`.
        """
        self.wait()  # no record leaves before the engine has proved usable
        scored = [item for item in prepared if item.previous is None]
        crops = [crop for item in scored for crop in item.crops]
        step = sum(bool(item.frames) for item in scored)  # inputs of many crops make no inference larger
        if len(crops) > step:
            outputs = [self._begin(crops[i : i + step])() for i in range(0, len(crops), step)]
            return lambda: self._records(prepared, joined(outputs))
        output = self._begin(crops) if crops else None
        return lambda: self._records(prepared, None if output is None else output())

    def _begin(self, images: Sequence[np.ndarray]) -> Callable[[], EngineOutput]:
        with self._lock:
            if self._closed:
                raise EngineError(f"{self.manifest.name}: the detector is closed")
            engine = self.wait()
            try:
                return engine.begin(images)
            except EngineError:
                if len(images) == 1:
                    raise
                # most often out of memory: slower one by one, but the run goes on
                rows = [engine.infer(image[None]) for image in images]
        return partial(joined, rows)

    def _records(self, prepared: Sequence[Prepared], output: EngineOutput | None) -> list[Record]:
        records: list[Record] = []
        row = 0
        for item in prepared:
            if item.previous is not None:
                records.append(item.previous)
            elif output is None or not item.frames:
                failed = Record(path=item.name, status="error", error=item.error, sha256=item.sha256, run=self.run)
                records.append(failed)
            else:
                end = row + len(item.crops)
                own = EngineOutput(output.logit[row:end], output.stats[row:end], output.lcas[row:end])
                records.append(record_of(item, own, self.manifest, self.run, prepare=self.prepare))
                row = end
        return records
