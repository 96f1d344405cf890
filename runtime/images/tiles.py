"""`--tiles`: overlapping squares that cover a whole picture at the scale of the centre crop, and their heatmap."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from PIL import Image

from ..core.manifest import Preprocess
from .decode import DecodedImage
from .preprocess import MAX_ASPECT, LoadedImage, shrunk

STEP = 0.75
"""Of a tile's side: the distance of two neighbours at most, so that each pair shares a quarter."""
MAX_FRAMES = 4
"""Frames of an animation that are tiled at most: a picture of 16:1 has 50 tiles."""


@dataclass(frozen=True)
class Tiling:
    """Where the tiles of a picture lie.

    Attributes:
        places: left and top of each tile, in pixels of the resized picture.
        squares: left, top and side of each tile, in pixels of the picture as displayed.
        size: width and height of the resized picture.
        picture: uint8 [h P, w P, 3], the resized picture on a grid of h x w patches with side P.
    """

    places: tuple[tuple[int, int], ...]
    squares: tuple[tuple[int, int, int], ...]
    size: tuple[int, int]
    picture: np.ndarray


def offsets(length: int, side: int) -> list[int]:
    """Where tiles of `side` start so that they cover `length` evenly."""
    steps = math.ceil((length - side) / (STEP * side))
    return [round(i * (length - side) / steps) for i in range(steps + 1)] if steps else [0]


def cut_tiles(one: DecodedImage, preprocess: Preprocess, patch_size: int) -> tuple[tuple[LoadedImage, ...], Tiling]:
    """Cut a picture into the squares that the engine scores, row by row.

    The short side is resized as for the centre crop, so that a tile shows as much detail. Of a picture longer than
    `MAX_ASPECT` times its short side, the middle part of that length is cut.
    """
    image = shrunk(one.image, preprocess)
    width, height = image.size
    most = MAX_ASPECT * min(width, height)
    left, top = max(0, width - most) // 2, max(0, height - most) // 2
    part = image.crop((left, top, width - left, height - top)) if left or top else image
    scale = preprocess.resize_short / min(part.size)
    size = tuple(max(round(side * scale), preprocess.resize_short) for side in part.size)
    resized = part.resize((size[0], size[1]), Image.Resampling.BICUBIC)
    area, crop = part.width * part.height / (width * height), preprocess.crop
    shown = one.width / width / scale  # displayed pixels in one of the resized picture
    origin = (left * one.width / width, top * one.height / height)
    places = tuple((x, y) for y in offsets(size[1], crop) for x in offsets(size[0], crop))
    crops = []
    for x, y in places:
        pixels = np.asarray(resized.crop((x, y, x + crop, y + crop)), dtype=np.uint8)
        crops.append(LoadedImage(pixels, one.width, one.height, area))
    left_top = ((origin[0] + x * shown, origin[1] + y * shown) for x, y in places)
    squares = tuple((round(x), round(y), round(crop * shown)) for x, y in left_top)
    grid = tuple(max(1, round(side / patch_size)) * patch_size for side in size)
    picture = np.asarray(resized.resize((grid[0], grid[1]), Image.Resampling.BICUBIC), dtype=np.uint8)
    return tuple(crops), Tiling(places, squares, (size[0], size[1]), picture)


def stitch(lcas: np.ndarray, tiling: Tiling, crop: int, patch_size: int) -> np.ndarray:
    """The anomaly map of the whole picture: each of its patches gets the mean of the tiles that show it.

    Args:
        lcas: float32 [T, N], of each tile.
        tiling: where the tiles lie.
        crop: side of a tile in pixels.
        patch_size: side of a patch in pixels.

    Returns:
        float32 [h, w], NaN where no run of any tile masked the patch.
    """
    grid = crop // patch_size
    height, width = (side // patch_size for side in tiling.picture.shape[:2])
    middle_x = (np.arange(width) + 0.5) * tiling.size[0] / width
    middle_y = (np.arange(height) + 0.5) * tiling.size[1] / height
    total, count = np.zeros((height, width)), np.zeros((height, width))
    for values, (x, y) in zip(lcas.reshape(-1, grid, grid), tiling.places, strict=True):
        columns, rows = ((middle_x - x) // patch_size).astype(int), ((middle_y - y) // patch_size).astype(int)
        inside = np.ix_(np.flatnonzero((rows >= 0) & (rows < grid)), np.flatnonzero((columns >= 0) & (columns < grid)))
        seen = values[np.ix_(rows[inside[0].ravel()], columns[inside[1].ravel()])]
        total[inside] += np.nan_to_num(seen)
        count[inside] += ~np.isnan(seen)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan).astype(np.float32)
