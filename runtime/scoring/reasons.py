"""Reasons: sentences that qualify a score because the image or its statistics differ from the training images."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..core.manifest import Manifest
from ..evidence.fact import Evidence
from ..images.preprocess import LoadedImage
from .record import Frames, Reason, Stats

LOW_CONTRAST = 0.02
"""Of the range [0, 1]: five grey levels inside a visible patch, barely more than sensor noise."""
TINY_SHORT_SIDE = 64
"""Enlarging 64 px to 256 px interpolates more than nine tenths of the pixels that the network sees."""
MIN_SEEN = 0.25
"""Share of the image inside the centre crop; below it the score is of a fragment."""
LOW_QUALITY = 60
"""JPEG quality below which a reason says that the rates were measured on better images, where nothing was recorded."""
TEXTS = {
    "tiny": "tiny image: nearly every pixel the network sees is interpolated",
    "small": "small image: it is enlarged before scoring, so the network sees interpolated pixels",
    "crop": "extreme aspect ratio: only {:.2g} % of the image lies inside the scored centre crop",
    "jpeg": "JPEG quality {}, below the {} down to which the engine's rates were measured",
    "grey": "grayscale image: the detector was fitted on colour",
    "flat": "low context: the visible patches hardly vary, so reconstruction is easy whatever the source",
    "end": "damaged file: the end mark of the JPEG is missing; all of its pixels are there",
    "checksum": "damaged file: parts of the PNG that hold no pixels have a wrong checksum and were left out",
    "s1": "variability is outside the range of the training images",
    "s2-": "low context: reconstruction is easier than in the training images",
    "s2+": "overall anomaly is above the range of the training images",
    "s3+": "the masks disagree: the score depends on which patches are hidden",
    "tiles": "mean of {} overlapping tiles: an indication, because thresholds and rates were calibrated on the centre "
    "crop alone",
    "first": "moving picture: only the first of its {} frames was scored",
    "frames": "moving picture: the frame of index {} gives the verdict, the most suspicious of {} scored (of {} in the "
    "file); the engine's rates hold for single images",
    "unseen": "{}",
    "band": "the score reaches neither threshold of the engine, so neither verdict has its promised rate",
    "norate": "no verdict of this engine has a known error rate: it was measured on too few images, or its scores were "
    "no evidence there",
}
"""Code -> sentence; `{}` stands for a value of the image."""


def reason(code: str, *values: object) -> Reason:
    """The reason of a code, with the values that its sentence takes."""
    return Reason(code, TEXTS[code].format(*values))


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


def image_reasons(image: LoadedImage, manifest: Manifest, visible: np.ndarray) -> list[Reason]:
    """Reasons that follow from the input alone."""
    preprocess = manifest.preprocess
    short = min(image.width, image.height)
    reasons: list[Reason] = []
    if short < TINY_SHORT_SIDE:
        reasons.append(reason("tiny"))
    elif short < preprocess.resize_short:
        reasons.append(reason("small"))
    if image.scored_area < MIN_SEEN:
        reasons.append(reason("crop", 100 * image.scored_area))
    if image.grayscale:
        reasons.append(reason("grey"))
    if visible_contrast(image.pixels, visible, manifest.backbone.config.patch_size) < LOW_CONTRAST:
        reasons.append(reason("flat"))
    return reasons


def frame_reasons(frames: Frames) -> list[Reason]:
    """How many frames of an animation or a video were scored, and which one the verdict is of."""
    total = "?" if frames.count is None else f"{frames.count:,}"
    if len(frames.scored) == 1:
        return [reason("first", total)]
    return [reason("frames", frames.verdict_from, len(frames.scored), total)]


def stat_reasons(stats: Stats, manifest: Manifest) -> list[Reason]:
    """Reasons that follow from statistics outside the 1st to 99th percentile of the training set."""
    ranges = manifest.stat_ranges
    reasons: list[Reason] = []
    if "s2" in ranges and stats.s2 < ranges["s2"].low:
        reasons.append(reason("s2-"))
    if "s2" in ranges and stats.s2 > ranges["s2"].high:
        reasons.append(reason("s2+"))
    if "s3" in ranges and stats.s3 > ranges["s3"].high:
        reasons.append(reason("s3+"))
    if "s1" in ranges and not ranges["s1"].low <= stats.s1 <= ranges["s1"].high:
        reasons.append(reason("s1"))
    return reasons


def quality_reasons(evidence: Sequence[Evidence], manifest: Manifest) -> list[Reason]:
    """The reason that a file is compressed more than the images on which the rates were measured."""
    least = manifest.calibration.lowest_quality or LOW_QUALITY
    qualities = (fact.value for fact in evidence if fact.kind == "jpeg_quality")
    return [reason("jpeg", value, least) for value in qualities if value and int(value) < least]
