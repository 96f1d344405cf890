"""A record as a piece of HTML, which notebooks show: verdict with its rate, heatmap, reasons, facts of the file."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from html import escape
from typing import Any

import numpy as np
from PIL import Image

from ..core.colour_map import colour_table, normalise
from .reading import next_steps, next_words, words
from .run import Run

SIDE = 168
"""Of the heatmap, in pixels."""
_HOLE = (120, 124, 132)
_SIGNS = {"ai": "\u25cf", "uncertain": "\u25d0", "real": "\u25cb", "error": "\u2715"}
_WORDS = {"ai": "AI", "uncertain": "Uncertain", "real": "Real", "error": "Not scored"}
_TONES = {"ai": "#c8385c", "uncertain": "#94730a", "real": "#1b8571", "error": "inherit"}
"""Between the light and the dark tones of the report, because a notebook's ground is unknown."""


def record_html(record: Mapping[str, Any], run: Run, lcas: np.ndarray | None, against: Mapping[str, str]) -> str:
    """The HTML of a record: what its file declares, what the score supports, what qualifies it.

    Args:
        record: as `record.to_dict` gives it. All text in it is escaped.
        run: of the record.
        lcas: float [N] anomaly map, or [h, w] of tiles; NaN where a patch was never masked; None for no heatmap.
        against: `Record.contradictions`.
    """
    kind, said = record["verdict"] or "error", words(run)
    tone = "uncertain" if against else kind
    notes = [f"{fact['statement']} [{fact['source']}]" for fact in record["evidence"]]
    if record["likelihood_ratio"]:
        notes.append(record["likelihood_ratio"]["text"])
    if record["probability"] is not None:
        notes.append(f"P(AI) {record['probability']:.1%}, {said['prior']}")
    notes += [f"{_WORDS[kind]}: {said[record['verdict']]}"] if record["verdict"] else []
    reasons = [reason for reason in record["reasons"] if reason["code"] != "band"]  # the words for uncertain say it
    is_declared = any(fact["declares"] == "ai" for fact in record["evidence"])
    steps = next_steps(record["verdict"], bool(against), is_declared)
    notes += [next_words(steps)] if steps else []
    notes += [*against.values(), *(one["text"] for one in (*reasons, record["error"]) if one)]
    lines = "".join(f"<li>{escape(note)}</li>" for note in notes)
    verdict = f'<strong style="color:{_TONES[tone]}">{_SIGNS[tone]} {_WORDS[kind]}</strong>'
    path, engine = escape(record["path"]), escape(run.engine)
    text = f"<div><code>{path}</code><br>{verdict}<ul>{lines}</ul><small>{engine}</small></div>"
    return f'<div style="display:flex;gap:1em;align-items:flex-start">{_figure(lcas)}{text}</div>'


def _figure(lcas: np.ndarray | None) -> str:
    """The heatmap on its own scale as an inline PNG with a caption; "" where there is none."""
    known = np.array([]) if lcas is None else lcas[np.isfinite(lcas)]
    if lcas is None or not known.size:
        return ""
    low, high, side = float(known.min()), float(known.max()), round(lcas.size**0.5)
    grid = np.asarray(lcas, np.float64) if lcas.ndim == 2 else np.asarray(lcas, np.float64).reshape(side, side)
    pixels = colour_table()[(normalise(np.nan_to_num(grid, nan=low), low, high) * 255).round().astype(int)]
    pixels[np.isnan(grid)] = _HOLE
    scale = max(1, SIDE // max(grid.shape))
    buffer = io.BytesIO()
    drawn = Image.fromarray(pixels.repeat(scale, 0).repeat(scale, 1))
    drawn.save(buffer, "PNG", optimize=True)
    data = base64.b64encode(buffer.getvalue()).decode("ascii")
    caption = f"contextual anomaly (LCAS), {low:.3g} dark to {high:.3g} bright; high does not mean AI"
    image = f'<img src="data:image/png;base64,{data}" width="{drawn.width}" height="{drawn.height}" alt="{caption}">'
    return f'<figure style="margin:0;width:{SIDE}px">{image}<figcaption><small>{caption}</small></figcaption></figure>'
