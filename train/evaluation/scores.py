"""Scores of labelled images."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class LabelledScores:
    """Scores of labelled images, one entry for each image in all fields.

    Attributes:
        paths: absolute paths of the files.
        labels: int64 [n], 1 AI-generated, 0 real.
        logits: float32 [n], raw logits of the head.
        generators: generator of each image.
        splits: split of each image.
    """

    paths: tuple[str, ...]
    labels: np.ndarray
    logits: np.ndarray
    generators: tuple[str, ...]
    splits: tuple[str, ...]

    def of(self, generator: str, split: str | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Labels and logits of one generator, of one of its splits or of all together."""
        chosen = np.array(self.generators) == generator
        if split is not None:
            chosen &= np.array(self.splits) == split
        return self.labels[chosen], self.logits[chosen]

    @property
    def groups(self) -> list[tuple[str, str]]:
        """Every (generator, split) there is, sorted."""
        return sorted(set(zip(self.generators, self.splits, strict=True)))
