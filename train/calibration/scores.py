"""Logits of labelled images with their sources, for calibrations and evaluations."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from ...runtime.core.errors import UsageError
from ...runtime.core.files import atomic_path

OWN_HEAD = "held-out images, by this head"
"""One more source of a calibration: the held-out images of all sources, scored by the head that is deployed."""


@dataclass(frozen=True)
class Scores:
    """Raw logits of labelled images.

    Attributes:
        logits: float32 [n].
        labels: int64 [n], 1 AI-generated, 0 real.
        sources: str [n], the generator or collection. A name that both classes share stands for two sources.
        splits: str [n]; None where the images are not told apart by split.
    """

    logits: np.ndarray
    labels: np.ndarray
    sources: np.ndarray
    splits: np.ndarray | None = None

    def take(self, chosen: np.ndarray) -> Scores:
        """The images at the positions int64 [m], or where bool [n] holds."""
        splits = None if self.splits is None else self.splits[chosen]
        return Scores(self.logits[chosen], self.labels[chosen], self.sources[chosen], splits)

    def of(self, source: str, split: str | None = None) -> Scores:
        """The images of one source, of both classes; `split`: of this split alone."""
        chosen = self.sources == source
        return self.take(chosen if split is None else chosen & (self.splits == split))

    @property
    def groups(self) -> list[tuple[str, str]]:
        """Every (source, split) there is, sorted; only where the images are told apart by split."""
        assert self.splits is not None
        return sorted(set(zip(self.sources.tolist(), self.splits.tolist(), strict=True)))

    def by_source(self, label: int) -> dict[str, np.ndarray]:
        """The logits of one class by source name, in name order."""
        own = self.take(self.labels == label)
        return {str(name): own.logits[own.sources == name] for name in np.unique(own.sources)}

    def save(self, path: Path) -> None:
        """Write logits, labels and the number of each image's source as safetensors, the sources' names as metadata."""
        names, numbers = np.unique(self.sources, return_inverse=True)
        tensors: dict[str, np.ndarray] = {
            "logits": self.logits.astype(np.float32), "labels": self.labels.astype(np.int64),
            "sources": numbers.reshape(-1).astype(np.int64),
        }
        with atomic_path(path) as temporary:
            save_file(tensors, temporary, metadata={"sources": json.dumps(names.tolist())})

    @classmethod
    def load(cls, path: Path) -> Scores:
        """Read a file that `save` wrote.

        Raises:
            UsageError: missing or damaged.
        """
        try:
            with safe_open(path, framework="numpy") as file:
                names = np.array(json.loads(file.metadata()["sources"]))
                return cls(file.get_tensor("logits"), file.get_tensor("labels"), names[file.get_tensor("sources")])
        except (OSError, SafetensorError, KeyError, TypeError, ValueError, IndexError) as error:
            raise UsageError(f"{path}: missing or damaged ({error}); fit again with: cinemae-train fit") from None
