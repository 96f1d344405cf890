"""The Ray actor: holds one engine and turns work units into shards of records."""

from __future__ import annotations

import os
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..core.errors import EngineError
from ..images.library_messages import silence_libraries
from ..scoring.detector import Detector
from ..scoring.pipeline import decode_and_score
from .shards import write_shard
from .storage import Folder
from .unit_images import preparer, sources
from .work_units import Unit


@dataclass(frozen=True)
class ActorOptions:
    """The settings that the driver sends to every actor.

    Attributes:
        out: output folder, an absolute path or a URL.
        folder: the driver's working folder, to which relative input paths refer.
        format: `jsonl` or `parquet`.
        label: name and hash of the driver's engine; an actor that loads another engine raises an error.
        engine: engine file, None for the bundled one.
        device: as `--device` of `cinemae-run`.
        threads: CPU threads of one inference.
        threshold: as `--threshold` of `cinemae-run`.
        prior: as `--prior`.
        batch_size: images in one inference; None for the engine's best number.
        workers: decoding threads.
        frames: as `--frames`.
    """

    out: str
    folder: str
    format: str
    label: str
    engine: Path | None
    device: str
    threads: int | None
    threshold: float | None
    prior: float
    batch_size: int | None
    workers: int
    frames: int | str


class ScoreUnits:
    """A callable class for Ray's `Dataset.map_batches`: writes one shard for each work unit and returns its counts."""

    def __init__(self, options: ActorOptions) -> None:
        silence_libraries()
        self._options = options
        with suppress(OSError):  # a node without this folder can still score URLs and absolute paths
            os.chdir(options.folder)
        self._folder = Folder(options.out)
        self._detector = Detector.load(
            options.engine, options.device, options.threads, options.threshold, prior=options.prior,
            frames=options.frames,
        )
        if self._detector.label != options.label:
            raise EngineError(
                f"this worker's engine is {self._detector.label}, the run's is {options.label}: "
                "put the same file at the same path on every node"
            )

    def __call__(self, batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Score a batch of work units.

        Args:
            batch: column `unit`, each value the JSON of a `Unit`.

        Returns:
            columns `unit`, the unit's index, and the counts of `Tally`; one value for each work unit.
        """
        rows = [self._score(Unit.from_json(str(text))) for text in batch["unit"]]
        return {name: np.asarray([row[name] for row in rows]) for name in rows[0]}

    def _score(self, unit: Unit) -> dict[str, int]:
        options = self._options
        detector = self._detector
        batch_size = options.batch_size or detector.best_batch
        scored = decode_and_score(sources(unit), preparer(detector), detector.begin, batch_size, options.workers)
        with closing(scored):
            records = (item.record for item in scored)
            tally = write_shard(self._folder, unit.index, options.format, records)
        return {"unit": unit.index, **tally.to_dict()}
