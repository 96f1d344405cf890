"""Plots as SVG in the report's colours, which follow the reader's light or dark scheme; pyplot is not used."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from ...runtime.core.files import atomic_path, write_text

DPI = 120
SERIES = (
    ("#2f6db3", "#7db4ec"), ("#c8641b", "#f0a15e"), ("#2c8a57", "#6fcf97"), ("#7c54b0", "#bd9cf0"),
    ("#c2478f", "#f08cc4"), ("#16889a", "#5fcfe0"), ("#8a8415", "#cfc85a"), ("#8a5a3c", "#cfa384"),
    ("#b8373a", "#f28482"), ("#6b7078", "#b4bac4"),
)
"""Colours of series on a light and on a dark ground."""


def _palette() -> dict[str, tuple[str, str]]:
    """Colours by name, light and dark: of the report's palette.css those that plots use, then the series."""
    css = (files("cinemae.runtime.report") / "templates" / "palette.css").read_text(encoding="utf-8")
    named = {name: pair for name, *pair in re.findall(r"--(\w+): light-dark\((#\w{6}), (#\w{6})\)", css)}
    own = {name: (named[name][0], named[name][1]) for name in ("ink", "muted", "line", "card", "paper", "ai", "real")}
    return own | {f"series-{i}": pair for i, pair in enumerate(SERIES)}


PALETTE = _palette()
INK, MUTED, LINE, CARD, PAPER = (PALETTE[name][0] for name in ("ink", "muted", "line", "card", "paper"))
REAL_COLOUR, AI_COLOUR = PALETTE["real"][0], PALETTE["ai"][0]


def colours(count: int) -> list[str]:
    """`count` colours that can be told apart."""
    return [SERIES[i % len(SERIES)][0] for i in range(count)]


@contextmanager
def drawing(path: Path, width: float = 7.0, height: float = 4.0, png: bool = False) -> Iterator[Any]:
    """Draw a figure in the report's style; the file appears when the `with` block ends without an error.

    Args:
        path: the SVG.
        width: in inches.
        height: in inches.
        png: write a PNG on a light ground beside it, for places that do not take SVG.

    Yields:
        An empty matplotlib figure.
    """
    from cycler import cycler
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    style: Any = {
        "text.color": INK, "axes.labelcolor": INK, "axes.titlecolor": INK, "xtick.color": MUTED, "ytick.color": MUTED,
        "xtick.labelcolor": INK, "ytick.labelcolor": INK, "axes.edgecolor": MUTED, "axes.facecolor": "none",
        "figure.facecolor": "none", "legend.facecolor": CARD, "legend.edgecolor": LINE, "grid.color": LINE,
        "axes.spines.top": False, "axes.spines.right": False, "axes.prop_cycle": cycler(color=colours(len(SERIES))),
        "svg.fonttype": "none", "svg.hashsalt": "cinemae",
    }
    with rc_context(style):
        figure = Figure(figsize=(width, height), layout="constrained")
        yield figure
        svg = io.StringIO()
        figure.savefig(svg, format="svg", metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")))
        write_text(path, themed(svg.getvalue()))
        if png:
            with atomic_path(path.with_suffix(".png")) as temporary:
                figure.savefig(temporary, format="png", dpi=DPI, facecolor=PAPER)


def themed(svg: str) -> str:
    """Replace the light colours of the palette by CSS variables, which a style inside the SVG sets for each scheme."""
    names = {light: name for name, (light, _) in PALETTE.items()}
    svg = re.sub("#[0-9a-f]{6}", lambda m: f"var(--{names[m[0]]})" if m[0] in names else m[0], svg)
    svg = re.sub(r"'DejaVu Sans'[^;\"]*", "system-ui, 'DejaVu Sans', sans-serif", svg)
    light, dark = ("; ".join(f"--{name}: {pair[i]}" for name, pair in PALETTE.items()) for i in (0, 1))
    style = f":root {{ {light} }} @media (prefers-color-scheme: dark) {{ :root {{ {dark} }} }}"
    return re.sub(r"(<svg [^>]*>)", lambda m: f"{m[0]}\n <style>{style}</style>", svg, count=1)


def bars(
    path: Path, title: str, ylabel: str, groups: Sequence[str], series: Mapping[str, Sequence[float]],
    chance: float = 0.5,
) -> None:
    """Grouped bars: one group of bars for each of `groups`, one colour for each series."""
    with drawing(path, max(7.0, 0.35 * len(groups) * len(series) + 2.5), 4.2) as figure:
        axes = figure.add_subplot()
        width = 0.8 / len(series)
        for i, (name, values) in enumerate(series.items()):
            axes.bar(np.arange(len(groups)) + (i - (len(series) - 1) / 2) * width, values, width, label=name)
        axes.axhline(chance, color=MUTED, linewidth=0.8, linestyle="--")
        axes.set_xticks(range(len(groups)), groups, rotation=20, ha="right")
        axes.set(title=title, ylabel=ylabel)
        axes.legend(fontsize=8, loc="upper left", bbox_to_anchor=(1, 1))


def matrix(
    path: Path, title: str, rows: Sequence[str], columns: Sequence[str], values: np.ndarray,
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
    path: Path, title: str, xlabel: str, ylabel: str, lines: Mapping[str, Line], ticks: Sequence[str] = (),
) -> None:
    """Lines with markers.

    Args:
        path: the SVG.
        title: title of the plot.
        xlabel: label of the x axis.
        ylabel: label of the y axis.
        lines: line by its name; names that start with "_" stay out of the legend.
        ticks: names of the values 0, 1, ... on the x axis; none leaves numbers there.
    """
    with drawing(path, 8.0, 4.5) as figure:
        axes = figure.add_subplot()
        for name, (x, y, colour, style) in lines.items():
            axes.plot(x, y, style, color=colour, marker="o", markersize=3, label=name)
        if ticks:
            axes.set_xticks(range(len(ticks)), ticks, rotation=20, ha="right")
        axes.set(title=title, xlabel=xlabel, ylabel=ylabel)
        axes.legend(fontsize=7, loc="upper left", bbox_to_anchor=(1, 1))
