"""The inputs that a detector accepts, and an input after decoding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np

from .decode import ImageSource
from .evidence.fact import Evidence
from .frames.loaded import Frame
from .preprocess import LoadedImage
from .records import Record


@dataclass(frozen=True)
class NamedSource:
    """An image with a name.

    Attributes:
        name: the record's `path`.
        source: the image.
        error: why the input cannot be used, where that is known already.
    """

    name: str
    source: ImageSource
    error: str | None = None


AnySource: TypeAlias = ImageSource | NamedSource
"""An input of the detector."""


@dataclass(frozen=True)
class Prepared:
    """One input after decoding; exactly one of `frames`, `error` and `previous` is set.

    Attributes:
        name: the record's `path`.
        frames: the frames that are scored; one for a still image.
        error: why there is none.
        sha256: of the input's bytes, hex; None where there are no bytes.
        evidence: facts from the file's metadata.
        moving: whether the input is an animation or a video.
        count: frames in the file; None where that is not known.
        notes: sentences about frames that were not looked at.
        previous: the record of an earlier run, which a resumed run takes over without scoring.
    """

    name: str
    frames: tuple[Frame, ...] = ()
    error: str | None = None
    sha256: str | None = None
    evidence: tuple[Evidence, ...] = ()
    moving: bool = False
    count: int | None = 1
    notes: tuple[str, ...] = ()
    previous: Record | None = None

    @property
    def image(self) -> LoadedImage | None:
        """The first crop that is scored; None where the input could not be decoded."""
        return self.frames[0].crops[0] if self.frames else None

    @property
    def reasons(self) -> tuple[str, ...]:
        """Sentences that follow from the pixels of the first frame alone."""
        return self.frames[0].reasons if self.frames else ()

    @property
    def crops(self) -> list[np.ndarray]:
        """All inputs of the network, each uint8 [S, S, 3]."""
        return [crop.pixels for frame in self.frames for crop in frame.crops]

    def with_crops(self, crops: Sequence[np.ndarray]) -> Prepared:
        """The same input with other arrays for `crops`, in their order."""
        rest = iter(crops)
        frames = (
            replace(frame, crops=tuple(replace(crop, pixels=next(rest)) for crop in frame.crops))
            for frame in self.frames
        )
        return replace(self, frames=tuple(frames))

    def picture(self, record: Record) -> np.ndarray | None:
        """The picture that `record` judges, uint8 [H, W, 3]; None where there is none."""
        chosen = record.frames.verdict_from if record.frames else None
        pictures = (frame.picture for frame in self.frames if chosen in (None, frame.index))
        return next(pictures, None)
