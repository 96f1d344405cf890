"""Any source -> its frames, each as the crops that the engine scores."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from PIL import Image

from ..core.manifest import Preprocess
from .animation import read_animation
from .decode import DecodedImage, ImageSource, decoded, opened
from .loaded import Frame, Loaded
from .preprocess import prepare, shrink_to
from .tiles import MAX_FRAMES, cut_tiles
from .video import read_video, video_container

HEAD_BYTES = 16


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
        return Frame(crops, index, time, tiling=tiling)

    wanted = wanted if tile_patch is None else min(wanted, MAX_FRAMES)
    with opened(source, name) as file:
        if isinstance(file, (np.ndarray, Image.Image)):
            with decoded(file, max_pixels, name) as image:
                return Loaded((load(image, 0, None),))
        container = video_container(file.read(HEAD_BYTES))
        file.seek(0)
        if container is not None:
            return read_video(file, container, wanted, load, max_pixels, name)
        with decoded(file, max_pixels, name, shrink_to(preprocess)) as image:
            return replace(read_animation(image, file, wanted, load), opened=image.opened)
