"""LCAS heatmaps: the local contextual anomaly of each patch as a colour over the network's input.

High LCAS does not mean that an image is AI-generated: real photographs often score higher. A heatmap is therefore
labelled "contextual anomaly", and all images share one fixed scale, the manifest's `heatmap_range`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from PIL.PngImagePlugin import PngInfo

from ..core.colour_map import colour_table, normalise
from ..core.errors import UsageError
from ..core.files import atomic_path
from ..core.manifest import StatRange

CAPTION = "contextual anomaly (LCAS)"
CAVEAT = "High does not mean AI: busy real photographs score high too."
OPACITY = 0.62
"""Share of the colour in the blend; the remainder is the photograph in grey."""
MARK_KEY = "Software"
MARK = "cinemae heatmap"
"""PNG text chunk that distinguishes heatmaps from other pictures, which are never overwritten."""

_PAPER, _INK, _MUTED, _MID_GREY = (255, 255, 255), (24, 26, 31), (92, 97, 108), (128, 128, 128)
_HATCH_LIGHT, _HATCH_DARK, _HATCH_STEP = (214, 216, 220), (120, 124, 132), 5


@dataclass(frozen=True)
class ColourScale:
    """The LCAS values at the two ends of the colour bar.

    Attributes:
        low: LCAS of the first colour.
        high: LCAS of the last colour.
        fixed: whether all images share this scale, so that their colours can be compared.
    """

    low: float
    high: float
    fixed: bool = True


def fixed_scale(heatmap_range: StatRange | None) -> ColourScale | None:
    """The scale in an engine's manifest; None if the manifest has none, in which case `image_scale` is used."""
    return ColourScale(heatmap_range.low, heatmap_range.high) if heatmap_range else None


def image_scale(lcas: np.ndarray) -> ColourScale:
    """A scale from the minimum to the maximum of one image; colours of two such images cannot be compared.

    Args:
        lcas: float [N].
    """
    known = np.asarray(lcas)[np.isfinite(lcas)]
    low, high = (float(known.min()), float(known.max())) if known.size else (0.0, 1.0)
    return ColourScale(low, high, fixed=False)


def _as_grid(lcas: np.ndarray) -> np.ndarray:
    if np.ndim(lcas) == 2:
        return np.asarray(lcas, np.float64)
    side = round(np.asarray(lcas).size ** 0.5)
    if side < 1 or side * side != np.asarray(lcas).size:
        raise UsageError(f"lcas must hold N = grid x grid values, got {np.asarray(lcas).size}")
    return np.asarray(lcas, np.float64).reshape(side, side)


def overlay(pixels: np.ndarray, lcas: np.ndarray, low: float, high: float) -> Image.Image:
    """Blend LCAS as colour over the image in grey; patches that no run masked (NaN) are hatched.

    Args:
        pixels: uint8 [S, S, 3], the input of the network, S a multiple of the side of the patch grid; or [H, W, 3], the
            picture that tiles cover.
        lcas: float [N], N = side x side patches in row-major order; or [h, w].
        low: LCAS of the first colour; lower values get this colour, too.
        high: LCAS of the last colour; higher values get this colour, too.

    Returns:
        RGB image of as many pixels.

    Raises:
        UsageError: N is not a square number, or S is not a multiple of the side of the patch grid.
    """
    grid = _as_grid(lcas)
    (rows, columns), (height, width) = grid.shape, pixels.shape[:2]
    if pixels.shape[2:] != (3,) or height % rows or height * columns != width * rows:
        raise UsageError(f"pixels {list(pixels.shape)} do not fit a grid of {rows} x {columns} patches")
    unknown = np.isnan(grid)
    level = (normalise(np.where(unknown, low, grid), low, high) * 255).round().astype(np.int64)
    colours = Image.fromarray(colour_table()[level]).resize((width, height), Image.Resampling.NEAREST)
    if unknown.any():
        where = Image.fromarray(unknown.astype(np.uint8) * 255).resize((width, height), Image.Resampling.NEAREST)
        colours.paste(_hatching(width, height), (0, 0), where)
    return Image.blend(Image.fromarray(pixels).convert("L").convert("RGB"), colours, OPACITY)


def _hatching(width: int, height: int) -> Image.Image:
    y, x = np.mgrid[0:height, 0:width]
    stripe = ((x + y) % (2 * _HATCH_STEP) < _HATCH_STEP)[:, :, None]
    light, dark = np.array(_HATCH_LIGHT, np.uint8), np.array(_HATCH_DARK, np.uint8)
    return Image.fromarray(np.where(stripe, light, dark))


def format_value(value: float) -> str:
    """A number for the colour bar, with three significant digits."""
    return f"{value:.3g}"


def figure(pixels: np.ndarray, lcas: np.ndarray, colour_scale: ColourScale, size: int = 448) -> Image.Image:
    """The image and its heatmap side by side, with caption and colour bar.

    Args:
        pixels: uint8 [S, S, 3], the input of the network.
        lcas: float [N].
        colour_scale: the scale of the colours.
        size: side of each of the two pictures, in pixels; rounded down to a multiple of S, and at least S.

    Returns:
        RGB image.
    """
    scale = max(1, size // pixels.shape[0])
    photo = Image.fromarray(pixels)
    photo = photo.resize((photo.width * scale, photo.height * scale), Image.Resampling.BICUBIC)
    heat = overlay(np.asarray(photo), lcas, colour_scale.low, colour_scale.high)
    margin, gap, foot = 16, 12, 78
    width = 2 * margin + gap + 2 * photo.width
    page = Image.new("RGB", (width, 2 * margin + photo.height + foot), _PAPER)
    page.paste(photo, (margin, margin))
    page.paste(heat, (margin + photo.width + gap, margin))
    _legend(page, lcas, colour_scale, margin, margin + photo.height + 12)
    return page


def _legend(page: Image.Image, lcas: np.ndarray, colour_scale: ColourScale, left: int, top: int) -> None:
    """Draw caption and caveat on the left, the colour bar with its numbers on the right."""
    draw = ImageDraw.Draw(page)
    strong, small = _font(17), _font(13)
    draw.text((left, top), CAPTION, fill=_INK, font=strong)
    draw.text((left, top + 26), CAVEAT, fill=_MUTED, font=small)
    note = "one fixed scale for all images" if colour_scale.fixed else "own scale: colours of two images do not compare"
    holes = int(np.isnan(lcas).sum())
    note += f"; hatched: {holes} patches never masked" if holes else ""
    draw.text((left, top + 45), note, fill=_MUTED, font=small)
    bar_width, bar_height = min(300, page.width // 3), 14
    x, y = page.width - left - bar_width, top + 4
    bar = Image.fromarray(colour_table(bar_width)[None].repeat(bar_height, axis=0))
    # Blended over mid-grey, so that the bar has the colours of the heatmap.
    page.paste(Image.blend(Image.new("RGB", bar.size, _MID_GREY), bar, OPACITY), (x, y))
    draw.rectangle((x - 1, y - 1, x + bar_width, y + bar_height), outline=_MUTED)
    middle = (colour_scale.low + colour_scale.high) / 2
    for share, value in ((0.0, colour_scale.low), (0.5, middle), (1.0, colour_scale.high)):
        text, at = format_value(value), x + share * (bar_width - 1)
        draw.line((at, y + bar_height, at, y + bar_height + 4), fill=_MUTED)
        draw.text((at - share * draw.textlength(text, font=small), y + bar_height + 5), text, fill=_INK, font=small)


def _font(points: int) -> Any:
    return ImageFont.load_default(size=points)


def is_heatmap(path: str | Path) -> bool:
    """Whether `path` is a heatmap that `save_heatmap` wrote, by its PNG text chunk."""
    try:
        with Image.open(path) as image:
            return image.format == "PNG" and str(image.info.get(MARK_KEY, "")) == MARK
    except (OSError, SyntaxError, ValueError):
        return False


def save_heatmap(path: str | Path, pixels: np.ndarray, lcas: np.ndarray, colour_scale: ColourScale | None) -> None:
    """Write `figure` as PNG, atomically; an earlier heatmap at `path` is replaced.

    Args:
        path: the PNG file.
        pixels: uint8 [S, S, 3], the input of the network.
        lcas: float [N].
        colour_scale: the fixed scale; None for the image's own scale, which the caption then states.

    Raises:
        UsageError: a file that is not a heatmap exists at `path`; it may be an input.
    """
    path = Path(path)
    if path.exists() and not is_heatmap(path):
        raise UsageError(f"{path}: exists and is not a heatmap of ours; choose another folder for --heatmaps")
    mark = PngInfo()
    mark.add_text(MARK_KEY, MARK)
    with atomic_path(path) as temporary:
        figure(pixels, lcas, colour_scale or image_scale(lcas)).save(temporary, "PNG", pnginfo=mark, compress_level=1)
