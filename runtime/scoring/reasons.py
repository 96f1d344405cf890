"""Reasons: sentences that qualify a score because the image or its statistics differ from the training images."""

from __future__ import annotations

import numpy as np

from ..core.manifest import Manifest
from ..images.preprocess import LoadedImage
from .promise import UNCALIBRATED
from .record import Frames, Stats

LOW_CONTRAST = 0.02
"""Of the range [0, 1]: five grey levels inside a visible patch, barely more than sensor noise."""
TINY_SHORT_SIDE = 64
"""Enlarging 64 px to 256 px interpolates more than nine tenths of the pixels that the network sees."""
MIN_SEEN = 0.25
"""Share of the image inside the centre crop; below it the score is of a fragment."""
TINY = "tiny image: nearly every pixel the network sees is interpolated"
UPSCALED = "small image: it is enlarged before scoring, so the network sees interpolated pixels"
CROPPED = "extreme aspect ratio: only {:.2g} % of the image lies inside the scored centre crop"
GRAYSCALE = "grayscale image: the detector was fitted on colour"
LOW_CONTEXT = "low context: the visible patches hardly vary, so reconstruction is easy whatever the source"
LOW_S2 = "low context: reconstruction is easier than in the training images"
HIGH_S2 = "overall anomaly is above the range of the training images"
HIGH_S3 = "the masks disagree: the score depends on which patches are hidden"
OUTSIDE_S1 = "variability is outside the range of the training images"
TILES = (
    "mean of {} overlapping tiles: an indication, because thresholds and rates were calibrated on the centre crop alone"
)
FRAME_OF = "moving picture: only the first of its {} frames was scored"
FRAMES = (
    "moving picture: the frame of index {} gives the verdict, the most suspicious of {} scored (of {} in the file); "
    "the engine's rates hold for single images"
)
BAND = "the score lies between the engine's two thresholds: it supports neither verdict at the promised rates"
NEAR_BAND = "the score clears the engine's threshold too narrowly for an unusual image"
OF_VERDICTS = (BAND, NEAR_BAND, UNCALIBRATED)
"""Reasons that follow from the verdict and the engine; all others say that the image is unusual."""


def visible_contrast(pixels: np.ndarray, visible: np.ndarray, patch_size: int) -> float:
    """Contrast of the patches that any run sees: their standard deviation, averaged over patches and channels.

    Args:
        pixels: uint8 [S, S, 3].
        visible: int64 [K, V], indices of the visible patches of each run.
        patch_size: side of a patch in pixels.

    Returns:
        a float in [0, 0.5], in units of the [0, 1] pixel range; a flat colour gives 0.
    """
    # sums of whole numbers, first of rows, then of columns: a tenth of the time of `std` on patches
    side, count = len(pixels), patch_size**2
    values = pixels.astype(np.uint32)
    sums, squares = (
        np.add.reduceat(
            x.reshape(-1, patch_size, 3 * side).sum(axis=1, dtype=np.uint32).reshape(-1, side, 3),
            range(0, side, patch_size), axis=1,
        ).reshape(-1, 3).astype(np.int64)
        for x in (values, values * values)
    )
    variance = count * squares - sums**2
    return float(np.sqrt(variance[np.unique(visible)]).mean()) / count / 255


def image_reasons(image: LoadedImage, manifest: Manifest, visible: np.ndarray) -> list[str]:
    """Reasons that follow from the input alone."""
    preprocess = manifest.preprocess
    short = min(image.width, image.height)
    reasons = []
    if short < TINY_SHORT_SIDE:
        reasons.append(TINY)
    elif short < preprocess.resize_short:
        reasons.append(UPSCALED)
    if image.scored_area < MIN_SEEN:
        reasons.append(CROPPED.format(100 * image.scored_area))
    if image.grayscale:
        reasons.append(GRAYSCALE)
    if visible_contrast(image.pixels, visible, manifest.backbone.config.patch_size) < LOW_CONTRAST:
        reasons.append(LOW_CONTEXT)
    return reasons


def frame_reasons(frames: Frames) -> list[str]:
    """How many frames of an animation or a video were scored, and which one the verdict is of."""
    total = "?" if frames.count is None else f"{frames.count:,}"
    if len(frames.scored) == 1:
        return [FRAME_OF.format(total)]
    return [FRAMES.format(frames.verdict_from, len(frames.scored), total)]


def stat_reasons(stats: Stats, manifest: Manifest) -> list[str]:
    """Reasons that follow from statistics outside the 1st to 99th percentile of the training set."""
    ranges = manifest.stat_ranges
    reasons = []
    if "s2" in ranges and stats.s2 < ranges["s2"].low:
        reasons.append(LOW_S2)
    if "s2" in ranges and stats.s2 > ranges["s2"].high:
        reasons.append(HIGH_S2)
    if "s3" in ranges and stats.s3 > ranges["s3"].high:
        reasons.append(HIGH_S3)
    if "s1" in ranges and not ranges["s1"].low <= stats.s1 <= ranges["s1"].high:
        reasons.append(OUTSIDE_S1)
    return reasons
