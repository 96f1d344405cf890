"""`Detector`: engine, preprocessing, calibration and verdict. Commands, server and Ray all score through it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import get_args

import numpy as np

from ..core.environment import cinemae_version, usable_cpus
from ..core.errors import EngineError, UsageError
from ..core.manifest import Decode, Manifest
from ..engines.base import Engine, EngineOutput, joined
from ..engines.load import best_batch, check_options, load_engine, read_engine_manifest, resolve
from ..images.decode import MAX_PIXELS
from ..images.frame_selection import DEFAULT_FRAMES, frames_wanted
from ..images.source import AnySource
from .judge import record_of
from .pipeline import check_sizes, decode_and_score
from .prepare import Prepared, Preparer
from .reading import Reading
from .record import Record, engine_label
from .verdict import Decision

DEFAULT_BATCH = 8
"""Images of one inference, where the engine's file names no best number."""


class Detector:
    """Scores images with one engine.

    Thread safety: a Detector may be shared between threads. Decoding runs in parallel; calls into the engine are
    serialised by a lock, because GPU backends reuse their buffers. `close` waits for a running inference.

    Attributes:
        best_batch: images of one inference, unless the caller chooses.
        preparer: what `prepare` does; it can be sent to another process.
    """

    def __init__(
        self,
        engine: Engine | Future[Engine] | None = None,
        manifest: Manifest | None = None,
        threshold: float | None = None,
        max_pixels: int = MAX_PIXELS,
        prior: float = 0.5,
        decode: str | None = None,
        best_batch: int = DEFAULT_BATCH,
        frames: int | str = DEFAULT_FRAMES,
        tiles: bool = False,
    ) -> None:
        if engine is None or manifest is None:
            raise UsageError("Detector() wraps a loaded engine; Detector.load() opens the bundled one or a file")
        self._engine = engine
        self.best_batch = best_batch
        self._lock = threading.Lock()
        self._closed = False
        self.frames = frames_wanted(frames)
        self.decision = Decision.of(manifest.calibration, threshold)
        if tiles:  # nobody measured the rates of a mean of tiles
            self.decision = replace(self.decision, false_alarm=None, miss=None)
            manifest = manifest.model_copy(update={"name": f"{manifest.name}+tiles"})
        tile_patch = manifest.backbone.config.patch_size if tiles else None
        self.reading = Reading.of(manifest.calibration, self.decision, prior)
        if decode not in (None, *get_args(Decode)):
            raise UsageError(f"unknown way to decode {decode!r}: use full or scaled")
        if decode not in (None, manifest.preprocess.decode):
            preprocess = manifest.preprocess.model_copy(update={"decode": decode})
            name = f"{manifest.name}+decode-{decode}"  # so that records, report and --resume tell the two apart
            manifest = manifest.model_copy(update={"name": name, "preprocess": preprocess})
        self.manifest = manifest
        self.preparer = Preparer(manifest, self.frames, max_pixels, tile_patch)
        self.label = engine_label(manifest)
        self._new_record = partial(
            Record, engine=self.label, prior=prior, ai_from=self.reading.ai_from, real_below=self.reading.real_below,
            false_alarm=self.reading.false_alarm, miss=self.reading.miss, cinemae=cinemae_version(),
        )

    @classmethod
    def load(
        cls,
        path: str | Path | None = None,
        device: str = "auto",
        threads: int | None = None,
        threshold: float | None = None,
        background: bool = False,
        max_pixels: int = MAX_PIXELS,
        prior: float = 0.5,
        decode: str | None = None,
        frames: int | str = DEFAULT_FRAMES,
        tiles: bool = False,
    ) -> Detector:
        """Load an engine; None is the bundled demonstration engine.

        Args:
            path: as for `load_engine`.
            device: as for `load_engine`.
            threads: as for `load_engine`.
            threshold: a probability in (0, 1), at equal priors, that replaces the manifest's two thresholds.
            background: return as soon as the manifest is read; the first inference waits for the engine. The error
                of an engine that cannot be used is then raised there, or by `wait`.
            max_pixels: images with more pixels are refused.
            prior: share of AI images among those scored, in (0, 1). It shifts probabilities, never a verdict.
            decode: "full" or "scaled", None for the engine's own way. Another way changes scores a little, and every
                record's `engine` says so.
            frames: frames of an animation or a video that are scored: "first", "all" or a number of frames spread
                over the file. The most suspicious one gives the verdict.
            tiles: score overlapping squares that cover the whole image, in place of its centre crop; the mean of their
                logits counts. No error rate is known for it, and every record's `engine` says so.

        Raises:
            EngineError: missing, damaged, foreign, or not fit for this machine.
            MissingDependencyError: the backend or the device is not usable here.
            UsageError: an unknown device or decode, a thread count below 1, a threshold or prior outside (0, 1), or
                frames that are neither a word nor a number that is allowed.
        """
        check_options(device, threads)
        path = resolve(path)
        if not background:
            engine = load_engine(path, device, threads)
            batch = best_batch(path) or DEFAULT_BATCH
            return cls(engine, engine.manifest, threshold, max_pixels, prior, decode, batch, frames, tiles)
        manifest, batch = read_engine_manifest(path), best_batch(path) or DEFAULT_BATCH
        future: Future[Engine] = Future()
        detector = cls(future, manifest, threshold, max_pixels, prior, decode, batch, frames, tiles)

        def load() -> None:
            try:
                future.set_result(load_engine(path, device, threads))
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

    def __enter__(self) -> Detector:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
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

    def detect_many(
        self, sources: Iterable[AnySource], batch_size: int | None = None, workers: int | None = None
    ) -> Iterator[Record]:
        """Score any number of images, lazily: one record each, in order, decoding in threads ahead of inference.

        Args:
            sources: as for `detect`; may be endless, it is read only a few batches ahead.
            batch_size: images in one inference, None for the engine's best number.
            workers: decoding threads, None for one per CPU.

        Raises:
            UsageError: batch size or workers below 1.
            EngineError: the engine fails or is closed; records already yielded stand.
        """
        size = self.best_batch if batch_size is None else batch_size
        workers = usable_cpus() if workers is None else workers
        check_sizes(size, workers)
        for scored in decode_and_score(sources, self.prepare, self.begin, size, workers):
            yield scored.record

    def prepare(self, source: AnySource) -> Prepared:
        """Decode one input; one that cannot be read is returned with its `error`. Safe to call from many threads."""
        return self.preparer(source)

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
        crops = [crop for item in prepared for crop in item.crops]
        step = sum(bool(item.frames) for item in prepared)  # inputs of many crops make no inference larger
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
        output = joined(rows)
        return lambda: output

    def _records(self, prepared: Sequence[Prepared], output: EngineOutput | None) -> list[Record]:
        records: list[Record] = []
        row = 0
        for item in prepared:
            if item.previous is not None:
                records.append(item.previous)
            elif output is None or not item.frames:
                records.append(self._new_record(item.name, "error", item.error, sha256=item.sha256))
            else:
                end = row + len(item.crops)
                own = EngineOutput(output.logit[row:end], output.stats[row:end], output.lcas[row:end])
                records.append(record_of(item, own, self.manifest, self.decision, self.reading, self._new_record))
                row = end
        return records
