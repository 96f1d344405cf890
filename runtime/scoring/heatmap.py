"""LCAS heatmaps: the local contextual anomaly of each patch as a colour over the network's input.

High LCAS does not mean that an image is AI-generated: real photographs often score higher. A heatmap is therefore
labelled "contextual anomaly", and all images share one fixed scale, the manifest's `heatmap_range`.
"""

from __future__ import annotations

from pathlib import Path

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


def own_range(lcas: np.ndarray) -> StatRange:
    """From the minimum to the maximum of one image, float [N]; colours of two such images cannot be compared."""
    known = np.asarray(lcas)[np.isfinite(lcas)]
    return StatRange(low=float(known.min()), high=float(known.max())) if known.size else StatRange(low=0.0, high=1.0)


def _as_grid(lcas: np.ndarray) -> np.ndarray:
    values = np.asarray(lcas, np.float64)
    side = round(values.size**0.5)
    if values.ndim != 2 and (side < 1 or side * side != values.size):
        raise UsageError(f"lcas must hold N = grid x grid values, got {values.size}")
    return values if values.ndim == 2 else values.reshape(side, side)


def overlay(pixels: np.ndarray, lcas: np.ndarray, low: float, high: float) -> Image.Image:
    """Blend LCAS as colour over the image in grey; patches that no run masked (NaN) are hatched.

    Args:
        pixels: uint8 [S, S, 3], the input of the network, S a multiple of the side of the patch grid; or [H, W, 3], the
            picture that tiles cover.
        lcas: float [N], N = side x side patches in row-major order; or [h, w].
        low: LCAS of the first colour; lower values get this colour, too.
        high: LCAS of the last colour; higher values get this colour, too.

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
    stripe = np.add.outer(np.arange(height), np.arange(width)) % (2 * _HATCH_STEP) < _HATCH_STEP
    return Image.fromarray(np.where(stripe[:, :, None], _HATCH_LIGHT, _HATCH_DARK).astype(np.uint8))


def figure(pixels: np.ndarray, lcas: np.ndarray, fixed: StatRange | None, size: int = 448) -> Image.Image:
    """The image and its heatmap side by side, with caption and colour bar.

    Args:
        pixels: uint8 [S, S, 3], the input of the network.
        lcas: float [N].
        fixed: LCAS at the two ends of the colour bar, the same for all images; None for the image's own range.
        size: side of each of the two pictures, in pixels; rounded down to a multiple of S, and at least S.
    """
    ends = fixed or own_range(lcas)
    scale = max(1, size // pixels.shape[0])
    photo = Image.fromarray(pixels)
    photo = photo.resize((photo.width * scale, photo.height * scale), Image.Resampling.BICUBIC)
    margin, gap, foot = 16, 12, 78
    page = Image.new("RGB", (2 * margin + gap + 2 * photo.width, 2 * margin + photo.height + foot), _PAPER)
    page.paste(photo, (margin, margin))
    page.paste(overlay(np.asarray(photo), lcas, ends.low, ends.high), (margin + photo.width + gap, margin))
    note = "one fixed scale for all images" if fixed else "own scale: colours of two images do not compare"
    holes = int(np.isnan(lcas).sum())
    note += f"; hatched: {holes} patches never masked" if holes else ""
    _legend(page, note, ends, margin, margin + photo.height + 12)
    return page


def _legend(page: Image.Image, note: str, ends: StatRange, left: int, top: int) -> None:
    """Draw caption, caveat and note on the left, the colour bar with its numbers on the right."""
    draw = ImageDraw.Draw(page)
    strong, small = ImageFont.load_default(size=17), ImageFont.load_default(size=13)
    draw.text((left, top), CAPTION, fill=_INK, font=strong)
    draw.text((left, top + 26), CAVEAT, fill=_MUTED, font=small)
    draw.text((left, top + 45), note, fill=_MUTED, font=small)
    bar_width, bar_height = min(300, page.width // 3), 14
    x, y = page.width - left - bar_width, top + 4
    bar = Image.fromarray(colour_table(bar_width)[None].repeat(bar_height, axis=0))
    # Blended over mid-grey, so that the bar has the colours of the heatmap.
    page.paste(Image.blend(Image.new("RGB", bar.size, _MID_GREY), bar, OPACITY), (x, y))
    draw.rectangle((x - 1, y - 1, x + bar_width, y + bar_height), outline=_MUTED)
    for share, value in ((0.0, ends.low), (0.5, (ends.low + ends.high) / 2), (1.0, ends.high)):
        text, at = f"{value:.3g}", x + share * (bar_width - 1)
        draw.line((at, y + bar_height, at, y + bar_height + 4), fill=_MUTED)
        draw.text((at - share * draw.textlength(text, font=small), y + bar_height + 5), text, fill=_INK, font=small)


def is_heatmap(path: str | Path) -> bool:
    """Whether `path` is a heatmap that `save_heatmap` wrote, by its PNG text chunk."""
    try:
        with Image.open(path, formats=("PNG",)) as image:
            return str(image.info.get(MARK_KEY, "")) == MARK
    except (OSError, SyntaxError, ValueError):
        return False


def save_heatmap(path: str | Path, pixels: np.ndarray, lcas: np.ndarray, fixed: StatRange | None) -> None:
    """Write `figure` as PNG, atomically; an earlier heatmap at `path` is replaced. The arguments are those of `figure`.

    Raises:
        UsageError: a file that is not a heatmap exists at `path`; it may be an input.
    """
    path = Path(path)
    if path.exists() and not is_heatmap(path):
        raise UsageError(f"{path}: exists and is not a heatmap of ours; choose another folder for --heatmaps")
    mark = PngInfo()
    mark.add_text(MARK_KEY, MARK)
    with atomic_path(path) as temporary:
        figure(pixels, lcas, fixed).save(temporary, "PNG", pnginfo=mark, compress_level=1)
