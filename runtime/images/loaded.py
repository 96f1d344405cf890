"""An input after decoding: its frames, and the crops of each that the engine scores."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image

from .preprocess import LoadedImage
from .tiles import Tiling


@dataclass(frozen=True)
class Frame:
    """One picture of an input; a still image has one.

    Attributes:
        crops: what the engine scores.
        index: position in the file, from 0.
        time: of its appearance in seconds from the first frame; None where the file does not tell.
        tiling: where the crops lie, if they are tiles; None for the centre crop alone.
    """

    crops: tuple[LoadedImage, ...]
    index: int = 0
    time: float | None = None
    tiling: Tiling | None = None

    @property
    def picture(self) -> np.ndarray:
        """uint8 [H, W, 3] for people: what was scored."""
        return self.crops[0].pixels if self.tiling is None else self.tiling.picture


@dataclass(frozen=True)
class Loaded:
    """The frames of an input that are scored.

    Attributes:
        frames: at least one, by index.
        moving: whether the input is an animation or a video.
        count: frames in the file; None where it is not known.
        notes: sentences about frames that were not looked at.
        opened: what Pillow opened, with the file's metadata; None for videos, arrays and Pillow images.
    """

    frames: tuple[Frame, ...]
    moving: bool = False
    count: int | None = 1
    notes: tuple[str, ...] = ()
    opened: Image.Image | None = None
