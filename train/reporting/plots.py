"""Plots as SVG in the report's light colours, on a ground of their own; pyplot is not used.

A page in a dark scheme inverts their lightness (`report.css`); elsewhere they read as they are.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from ...runtime.core.files import atomic_path
from .estimate import Estimate

DPI = 120
INK, MUTED, LINE, GROUND = "#1b1d22", "#5d626d", "#dcd8ce", "#fffefb"
REAL_COLOUR, AI_COLOUR = "#17705f", "#b3274c"
SERIES = ("#2f6db3", "#c8641b", "#2c8a57", "#7c54b0", "#c2478f", "#16889a", "#8a8415", "#8a5a3c", "#b8373a", "#6b7078")
"""Colours of series that can be told apart, in the order in which matplotlib takes them ("C0", "C1", ...)."""


@contextmanager
def drawing(path: Path, width: float = 7.0, height: float = 4.0, png: bool = False) -> Iterator[Any]:
    """An empty matplotlib figure in the report's style, of `width` and `height` inches, which is written as an SVG.

    The file appears when the `with` block ends without an error; with `png`, a PNG beside it, for places that do not
    take SVG.
    """
    _import_matplotlib()
    from cycler import cycler
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    style: Any = {
        "text.color": INK, "axes.labelcolor": INK, "axes.titlecolor": INK, "xtick.color": MUTED, "ytick.color": MUTED,
        "xtick.labelcolor": INK, "ytick.labelcolor": INK, "axes.edgecolor": MUTED, "axes.facecolor": GROUND,
        "figure.facecolor": GROUND, "legend.facecolor": GROUND, "legend.edgecolor": LINE, "grid.color": LINE,
        "axes.spines.top": False, "axes.spines.right": False, "axes.prop_cycle": cycler(color=SERIES),
        "svg.fonttype": "none", "svg.hashsalt": "cinemae",
    }
    with rc_context(style):
        figure = Figure(figsize=(width, height), layout="constrained")
        yield figure
        with atomic_path(path) as temporary:
            figure.savefig(temporary, format="svg", metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")))
        if png:
            with atomic_path(path.with_suffix(".png")) as temporary:
                figure.savefig(temporary, format="png", dpi=DPI)


def _import_matplotlib() -> None:
    """Import matplotlib, which writes a list of all fonts to the home folder, with a temporary folder in its place."""
    if "matplotlib" in sys.modules or "MPLCONFIGDIR" in os.environ:
        return
    with TemporaryDirectory() as folder:
        os.environ["MPLCONFIGDIR"] = folder
        try:
            import matplotlib.font_manager  # noqa: F401
        finally:
            del os.environ["MPLCONFIGDIR"]


def bars(
    path: Path, title: str, ylabel: str, groups: Sequence[str], series: Mapping[str, Sequence[float]], *,
    chance: float = 0.5,
) -> None:
    """Grouped bars: one group of bars for each of `groups`, one colour for each series, with their intervals."""
    with drawing(path, max(7.0, 0.35 * len(groups) * len(series) + 2.5), 4.2) as figure:
        axes = figure.add_subplot()
        width = 0.8 / len(series)
        for i, (name, values) in enumerate(series.items()):
            error = {"ecolor": INK, "elinewidth": 0.8}
            axes.bar(np.arange(len(groups)) + (i - (len(series) - 1) / 2) * width, values, width, label=name,
                     yerr=errors(values), error_kw=error)
        axes.axhline(chance, color=MUTED, linewidth=0.8, linestyle="--")
        axes.set_xticks(range(len(groups)), groups, rotation=20, ha="right")
        axes.set(title=title, ylabel=ylabel)
        axes.legend(fontsize=8, loc="upper left", bbox_to_anchor=(1, 1))


def errors(values: Sequence[float]) -> np.ndarray:
    """How far the interval of each figure reaches below and above it, float [2, n]; 0 where it has none."""
    ends = [(value - value.low, value.high - value) if isinstance(value, Estimate) else (0.0, 0.0) for value in values]
    return np.nan_to_num(np.array(ends, np.float64).reshape(-1, 2).T)


def matrix(
    path: Path, title: str, rows: Sequence[str], columns: Sequence[str], values: np.ndarray, *,
    low: float, high: float, xlabel: str = "", ylabel: str = "",
) -> None:
    """A coloured table of float [rows, columns]; empty where a value is not defined."""
    with drawing(path, 1.1 * len(columns) + 3, 0.6 * len(rows) + 2) as figure:
        axes = figure.add_subplot()
        shown = axes.imshow(values, cmap="RdBu" if low < 0 else "viridis", vmin=low, vmax=high, aspect="auto")
        for (i, j), value in np.ndenumerate(values):
            if np.isfinite(value):
                share = (value - low) / (high - low)
                dark = not 0.2 < share < 0.8 if low < 0 else share < 0.6
                text = "white" if dark else "black"
                axes.text(j, i, f"{value:.2f}", ha="center", va="center", color=text, fontsize=9)
        axes.set_xticks(range(len(columns)), columns, rotation=25, ha="right")
        axes.set_yticks(range(len(rows)), rows)
        axes.set(title=title, xlabel=xlabel, ylabel=ylabel)
        figure.colorbar(shown)


Line = tuple[Sequence[float], Sequence[float], Any, str]
"""x, y, colour, line style."""


def curves(
    path: Path, title: str, lines: Mapping[str, Line], *, xlabel: str = "", ylabel: str = "", ticks: Sequence[str] = ()
) -> None:
    """Lines with markers, by name; names that start with "_" stay out of the legend.

    `ticks` are names of the values 0, 1, ... on the x axis; without them the axis has numbers.
    """
    with drawing(path, 8.0, 4.5) as figure:
        axes = figure.add_subplot()
        for name, (x, y, colour, style) in lines.items():
            axes.plot(x, y, style, color=colour, marker="o", markersize=3, label=name)
        if ticks:
            axes.set_xticks(range(len(ticks)), ticks, rotation=20, ha="right")
        axes.set(title=title, xlabel=xlabel, ylabel=ylabel)
        axes.legend(fontsize=7, loc="upper left", bbox_to_anchor=(1, 1))
