"""From a raw logit to probability, verdict and reasons in words.

The band of the manifest, `uncertain_low` to `uncertain_high`, decides: below it `real`, above it `ai`, inside it
`uncertain`. A reason says that the input is unlike what the head was fitted on. Such an input must clear the band by
the band's own width as well, so a reason turns a verdict into `uncertain` only near the band, and an engine with an
empty band never answers `uncertain`. A threshold given by the caller replaces threshold and band for every input.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from .errors import UsageError
from .lcas import patchify
from .manifest import Calibration, Manifest
from .preprocess import LoadedImage
from .records import Stats, Verdict

LOW_CONTRAST = 0.02
"""Of [0, 1]: five grey levels inside a visible patch, barely more than sensor noise (1 % of our bench's images)."""
TINY_SHORT_SIDE = 64
"""Below 64 px a 256 px resize invents more than nine tenths of the pixels that the network sees."""
MIN_SEEN = 0.25
"""Share of the image inside the centre crop below which the score speaks about a fragment."""

TINY = "tiny image: nearly every pixel the network sees is interpolated"
UPSCALED = "small image: it is enlarged before scoring, so the network sees interpolated pixels"
CROPPED = "extreme aspect ratio: most of the image lies outside the scored centre crop"
GRAYSCALE = "grayscale image: the detector was fitted on colour"
LOW_CONTEXT = "low context: the visible patches hardly vary, so reconstruction is easy whatever the source"
LOW_S2 = "low context: reconstruction is easier than in the training images"
HIGH_S2 = "overall anomaly is above the range of the training images"
HIGH_S3 = "the masks disagree: the score depends on which patches are hidden"
OUTSIDE_S1 = "variability is outside the range of the training images"
BAND = "the score lies inside the engine's uncertain band"
NEAR_BAND = "the score lies near the engine's uncertain band and the input is unusual"


@dataclass(frozen=True)
class Decision:
    """threshold, low, high: raw logits, low <= threshold <= high. An empty band (low = high) is never uncertain."""

    threshold: float
    low: float
    high: float

    @classmethod
    def of(cls, calibration: Calibration, threshold: float | None = None) -> Decision:
        """The manifest's decision, or for a probability `threshold` in (0, 1) that cut alone, without a band.

        Raises:
            UsageError: a threshold outside (0, 1).
        """
        if threshold is None:
            return cls(calibration.threshold, calibration.uncertain_low, calibration.uncertain_high)
        if not 0 < threshold < 1:
            raise UsageError(f"a threshold is a probability between 0 and 1 (both excluded), got {threshold}")
        cut = calibration.logit_of(threshold)
        return cls(cut, cut, cut)


def decide(logit: float, decision: Decision, unusual: bool) -> Verdict:
    """The verdict for a finite raw logit; `unusual`: at least one reason speaks against trusting it."""
    width = decision.high - decision.low
    margin = width if unusual else 0.0
    if width > 0 and decision.low - margin <= logit <= decision.high + margin:
        return "uncertain"
    return "ai" if logit >= decision.threshold else "real"


def band_reason(logit: float, decision: Decision, verdict: Verdict) -> str | None:
    """Why a verdict is `uncertain`."""
    if verdict != "uncertain":
        return None
    return BAND if decision.low <= logit <= decision.high else NEAR_BAND


def visible_contrast(pixels: np.ndarray, visible: np.ndarray, patch_size: int) -> float:
    """How much the patches visible in any run vary: mean over them and over the channels of the standard deviation.

    Args:
        pixels: uint8 [S, S, 3]. visible: int64 [K, V].

    Returns:
        a float in [0, 0.5], in units of the [0, 1] pixel range; a flat colour gives 0.
    """
    patches = patchify(pixels[None], patch_size)[0][np.unique(visible)]
    values = patches.reshape(len(patches), patch_size**2, 3)
    return float(values.std(axis=1, dtype=np.float32).mean()) / 255


def image_reasons(image: LoadedImage, manifest: Manifest, visible: np.ndarray) -> list[str]:
    """Reasons that follow from the input alone."""
    preprocess = manifest.preprocess
    short, long = sorted((image.width, image.height))
    reasons = []
    if short < TINY_SHORT_SIDE:
        reasons.append(TINY)
    elif short < preprocess.resize_short:
        reasons.append(UPSCALED)
    if (preprocess.crop / preprocess.resize_short) ** 2 * short / long < MIN_SEEN:
        reasons.append(CROPPED)
    if image.grayscale:
        reasons.append(GRAYSCALE)
    if visible_contrast(image.pixels, visible, manifest.backbone.config.patch_size) < LOW_CONTRAST:
        reasons.append(LOW_CONTEXT)
    return reasons


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


def is_finite(logit: float, stats: Stats) -> bool:
    """Whether a score can be used at all."""
    return all(math.isfinite(value) for value in (logit, stats.s1, stats.s2, stats.s3))
