"""Logits of labelled images with their sources: what a calibration is fitted on, kept in the checkpoint."""

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
"""Stands for a source: held-out images of all sources, which are scored by other heads too (`held_out`)."""


@dataclass(frozen=True)
class SourceScores:
    """Out-of-fold logits of labelled images and where each comes from.

    Attributes:
        logits: float32 [n], raw, each from a head fitted without the image's source.
        labels: int64 [n], 1 AI, 0 real.
        sources: str [n]; images of the two classes never share a source, whatever its name.
    """

    logits: np.ndarray
    labels: np.ndarray
    sources: np.ndarray

    def by_source(self, label: int) -> dict[str, np.ndarray]:
        """The logits of one class by source name, in name order."""
        chosen = self.labels == label
        return {
            str(name): self.logits[chosen & (self.sources == name)] for name in np.unique(self.sources[chosen])
        }

    def save(self, path: Path) -> None:
        """Write `path` as safetensors: logits, labels, and the number of each image's source; names as metadata."""
        names, numbers = np.unique(self.sources, return_inverse=True)
        tensors: dict[str, np.ndarray] = {
            "logits": self.logits.astype(np.float32), "labels": self.labels.astype(np.int64),
            "sources": numbers.reshape(-1).astype(np.int64),
        }
        with atomic_path(path) as temporary:
            save_file(tensors, temporary, metadata={"sources": json.dumps(names.tolist())})

    @classmethod
    def load(cls, path: Path) -> SourceScores:
        """Read what `save` wrote.

        Raises:
            UsageError: missing or damaged, as in checkpoints of earlier versions.
        """
        try:
            with safe_open(path, framework="numpy") as file:
                names = np.array(json.loads(file.metadata()["sources"]))
                return cls(file.get_tensor("logits"), file.get_tensor("labels"), names[file.get_tensor("sources")])
        except (OSError, SafetensorError, KeyError, TypeError, ValueError, IndexError) as error:
            raise UsageError(f"{path}: missing or damaged ({error}); fit again with: cinemae-train fit") from None
