"""The Ray actor: holds one engine and turns work units into shards of records."""

from __future__ import annotations

import os
from contextlib import closing, suppress

import numpy as np

from ..core.errors import EngineError
from ..images.library_messages import silence_libraries
from ..scoring.detector import Detector
from ..scoring.pipeline import decode_and_score
from .options import RayOptions
from .shards import write_shard
from .storage import Folder
from .work_units import Unit, sources


class ScoreUnits:
    """A callable class for Ray's `Dataset.map_batches`: writes one shard for each work unit and returns its counts."""

    def __init__(self, options: RayOptions, folder: str, label: str) -> None:
        """Load the engine.

        Args:
            options: of the run, with absolute paths of output and engine.
            folder: the driver's working folder, to which relative input paths refer.
            label: name and hash of the driver's engine.

        Raises:
            EngineError: the engine cannot be loaded, or is another than the driver's.
        """
        silence_libraries()
        with suppress(OSError):  # a node without this folder can still score URLs and absolute paths
            os.chdir(folder)
        self._options, self._folder = options, Folder(options.out)
        self._detector = Detector.load(options.scoring)
        found = self._detector.run.engine
        if found != label:
            raise EngineError(
                f"this worker's engine is {found}, the run's is {label}: "
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
        options, detector = self._options, self._detector
        size, workers = options.batch_size or detector.best_batch, options.workers or options.threads
        scored = decode_and_score(sources(unit), detector.prepare, detector.begin, size, workers)
        with closing(scored):
            records = (item.record for item in scored)
            return {"unit": unit.index, **write_shard(self._folder, unit.index, options.format, records).to_dict()}
