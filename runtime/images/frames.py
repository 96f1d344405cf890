"""Any source -> its frames, each as the crops that the engine scores."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image

from ..core.manifest import Preprocess
from .animation import ANIMATED, read_animation
from .decode import DecodedImage, decoded
from .flaws import Flaw
from .formats import video_container
from .preprocess import LoadedImage, prepare, shrink_to
from .source import ImageSource, opened
from .tiles import MAX_FRAMES, Tiling, cut_tiles
from .video import read_video


@dataclass(frozen=True)
class Frame:
    """A picture of an input; a still image is a single frame.

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
        flaw: what is wrong with the file beside its pixels.
    """

    frames: tuple[Frame, ...]
    moving: bool = False
    count: int | None = 1
    notes: tuple[str, ...] = ()
    opened: Image.Image | None = None
    flaw: Flaw | None = None


def load_frames(
    source: ImageSource, preprocess: Preprocess, wanted: int, max_pixels: int, name: str, tile_patch: int | None = None
) -> Loaded:
    """Decode an image, or `wanted` frames of an animation or a video, spread over all of it, one after the other.

    Args:
        source: path, bytes, binary file, Pillow image or array; of the last two, one frame.
        preprocess: the engine's preprocessing.
        wanted: number of frames.
        max_pixels: images and frames with more pixels are refused.
        name: the source's name in messages.
        tile_patch: side of a patch in pixels, to cut each frame into tiles; None for its centre crop.

    Raises:
        ImageError: as for `decode.decode`, of the first frame.
    """

    def load(image: DecodedImage, index: int, time: float | None) -> Frame:
        if tile_patch is None:
            return Frame((prepare(image, preprocess),), index, time)
        crops, tiling = cut_tiles(image, preprocess, tile_patch)
        return Frame(crops, index, time, tiling)

    wanted = wanted if tile_patch is None else min(wanted, MAX_FRAMES)
    with opened(source, name) as file:
        if isinstance(file, (np.ndarray, Image.Image)):
            with decoded(file, max_pixels, name) as image:
                return Loaded((load(image, 0, None),))
        container = video_container(file)
        if container is not None:
            frames, total, notes = read_video(file, container, wanted, load, max_pixels=max_pixels, name=name)
            return Loaded(frames, True, total, notes)
        with decoded(file, max_pixels, name, shrink_to(preprocess)) as image:
            if image.opened is None or image.opened.format not in ANIMATED:
                return Loaded((load(image, 0, None),), opened=image.opened, flaw=image.flaw)
            frames, count, notes = read_animation(image, file, wanted, load)
            return Loaded(frames, count > 1, count, notes, image.opened, image.flaw)
