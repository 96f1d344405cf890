"""Plots of the studies on matplotlib's Agg canvas; pyplot and its global state are not touched."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ...runtime.atomic import atomic_path

DPI = 110
REAL_COLOUR, AI_COLOUR = "#3b6ea8", "#c4572b"


def figure(width: float = 7.0, height: float = 4.0) -> Any:
    """An empty figure, in inches."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    made = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(made)
    return made


def save(made: Any, path: Path) -> None:
    """Write the PNG atomically."""
    with atomic_path(path) as temporary:
        made.savefig(temporary, format="png", dpi=DPI)


def bars(
    path: Path, title: str, ylabel: str, groups: Sequence[str], series: Mapping[str, Sequence[float]],
    chance: float = 0.5,
) -> None:  # fmt: skip
    """Grouped bars: one group of bars for each of `groups`, one colour for each series."""
    made = figure(max(7.0, 0.35 * len(groups) * len(series) + 2.5), 4.2)
    axes = made.add_subplot()
    width = 0.8 / len(series)
    for i, (name, values) in enumerate(series.items()):
        axes.bar(np.arange(len(groups)) + (i - (len(series) - 1) / 2) * width, values, width, label=name)
    axes.axhline(chance, color="0.4", linewidth=0.8, linestyle="--")
    axes.set_xticks(range(len(groups)), groups, rotation=20, ha="right")
    axes.set(title=title, ylabel=ylabel)
    axes.legend(fontsize=8, loc="upper left", bbox_to_anchor=(1, 1))
    save(made, path)


def matrix(
    path: Path, title: str, rows: Sequence[str], columns: Sequence[str], values: np.ndarray,
    low: float, high: float, xlabel: str = "", ylabel: str = "",
) -> None:  # fmt: skip
    """A coloured table of float [rows, columns]; grey where a value is not defined."""
    made = figure(1.1 * len(columns) + 3, 0.6 * len(rows) + 2)
    axes = made.add_subplot()
    shown = axes.imshow(values, cmap="RdBu" if low < 0 else "viridis", vmin=low, vmax=high, aspect="auto")
    for (i, j), value in np.ndenumerate(values):
        if np.isfinite(value):
            share = (value - low) / (high - low)
            dark = not 0.2 < share < 0.8 if low < 0 else share < 0.6
            axes.text(j, i, f"{value:.2f}", ha="center", va="center", color="white" if dark else "black", fontsize=9)
    axes.set_xticks(range(len(columns)), columns, rotation=25, ha="right")
    axes.set_yticks(range(len(rows)), rows)
    axes.set(title=title, xlabel=xlabel, ylabel=ylabel)
    made.colorbar(shown)
    save(made, path)


Line = tuple[Sequence[float], Sequence[float], Any, str]
"""x, y, colour, line style."""


def curves(
    path: Path,
    title: str,
    xlabel: str,
    ylabel: str,
    lines: Mapping[str, Line],
    ticks: Sequence[str] = (),
) -> None:
    """Lines with markers.

    Args:
        path: the PNG.
        title: title of the plot.
        xlabel: label of the x axis.
        ylabel: label of the y axis.
        lines: line by its name; names that start with "_" stay out of the legend.
        ticks: names of the values 0, 1, ... on the x axis; none leaves numbers there.
    """
    made = figure(8.0, 4.5)
    axes = made.add_subplot()
    for name, (x, y, colour, style) in lines.items():
        axes.plot(x, y, style, color=colour, marker="o", markersize=3, label=name)
    if ticks:
        axes.set_xticks(range(len(ticks)), ticks, rotation=20, ha="right")
    axes.set(title=title, xlabel=xlabel, ylabel=ylabel)
    axes.legend(fontsize=7, loc="upper left", bbox_to_anchor=(1, 1))
    save(made, path)


def colours(count: int) -> list[Any]:
    """`count` colours that can be told apart."""
    from matplotlib import colormaps

    return [colormaps["tab10"](i % 10) for i in range(count)]
