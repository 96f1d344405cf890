"""The HTML report: one self-contained page for any number of records, written as a stream in constant memory."""

from __future__ import annotations

import base64
import datetime
import functools
import hashlib
import html
import io
import json
import os
import re
import time
from contextlib import ExitStack, suppress
from dataclasses import asdict, replace
from importlib.resources import files
from pathlib import Path
from types import TracebackType
from typing import IO, Any
from urllib.parse import quote

import numpy as np
from PIL import Image

from ..core.colour_map import hex_colours
from ..core.errors import UsageError
from ..core.files import exclusive_path, writing
from ..core.manifest import Manifest
from ..evidence.fact import Evidence
from ..scoring.heatmap import OPACITY
from ..scoring.reading import words
from ..scoring.record import Frames, Record
from ..scoring.run import Run
from ..scoring.verdict import run_of
from .spread import Spread

THUMBNAIL_SIZE = 192
THUMBNAIL_QUALITY = 68
CHUNK_RECORDS = 100
MAX_PICTURES = 20_000
"""Only this many records get a thumbnail and a heatmap: browsers handle a page of 200 MB, but not one of 1 GB."""
STYLES = ("palette.css", "report.css")
SCRIPTS = tuple(
    f"{name}.js"
    for name in (
        "verdicts", "spread", "lcas_colours", "data", "cards", "review", "filter", "grid", "original", "detail",
        "overview", "controls",
    )
)
"""Run as one script, in this order."""
UNKNOWN_BYTE = 255
"""Code of a patch that no run masked; codes 0 to 254 range from the image's lowest to its highest LCAS."""


class ReportWriter:
    """Writes the report record by record; the file appears when the `with` block ends without an error.

        with ReportWriter("report.html", manifest, run) as report:
            report.add(record, pixels)

    The page's content security policy forbids all other servers; it loads nothing but, on a click, the original image
    from beside itself. File names and reasons are stored as JSON and displayed as text.

    Attributes:
        path: the HTML file.
        provider: execution provider of the engine; it may be set until the block ends, because a session that loads in
            the background is known late.
    """

    def __init__(
        self, path: str | Path, manifest: Manifest, run: Run | None = None, provider: str = "",
        title: str = "Image report", *, csv_bom: bool = False,
    ) -> None:
        """Collect the head of the page; without `run`, thresholds are the engine's own and the prior one half.

        `csv_bom` begins the CSV of the review with a byte order mark.
        """
        self.path = Path(path)
        self.provider = provider
        self._info = {**page_info(manifest, run or run_of(manifest), title), "bom": "\ufeff" * csv_bom}
        self._count = 0
        self._rows: list[str] = []
        self._media: list[str] = []
        self._stack = ExitStack()
        self._file: IO[str] | None = None

    def __enter__(self) -> ReportWriter:
        with writing(self.path), ExitStack() as stack:
            temporary = stack.enter_context(exclusive_path(self.path))
            self._file = stack.enter_context(temporary.open("w", encoding="utf-8", newline="\n"))
            self._file.write(page_frame(self._info)[0])
            self._stack = stack.pop_all()
        return self

    def add(self, record: Record, pixels: np.ndarray | None = None, label: str | None = None) -> None:
        """Append one record, whose `lcas` becomes the heatmap.

        Args:
            record: the record.
            pixels: uint8 [S, S, 3], the input of the network, or [H, W, 3] for tiles; None for a placeholder.
            label: "ai" or "real", where the true class is known.
        """
        self._count += 1
        if self._count > MAX_PICTURES:
            record, pixels = replace(record, lcas=None), None
        row, lcas = record_row(record, self.path.parent, label)
        self._rows.append(row)
        self._media.append(("" if pixels is None else thumbnail(pixels)) + "|" + lcas)
        if len(self._rows) >= CHUNK_RECORDS:
            self._flush()

    def _flush(self) -> None:
        """Write the records in memory as one chunk: a script element with JSON rows, and one with their pictures."""
        if self._file is not None and self._rows:
            with writing(self.path):
                rows = ",\n".join(self._rows)
                self._file.write(f'<script type="application/json" class="rows">[{rows}]</script>\n')
                self._file.write('<script type="text/plain">' + "\n".join(self._media) + "</script>\n")
        self._rows.clear()
        self._media.clear()

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is not None or self._file is None:
            with suppress(OSError):  # of a full disk, which has been reported
                self._stack.__exit__(kind, value, traceback)
            return
        with writing(self.path), self._stack:  # an error in here, such as a full disk, also discards the page
            self._flush()
            limit = MAX_PICTURES if self._count > MAX_PICTURES else None
            self._file.write(page_frame({**self._info, "provider": self.provider, "pictures": limit})[1])


def page_info(manifest: Manifest, run: Run, title: str) -> dict[str, Any]:
    """The data for the head of the page, as JSON types."""
    limits = manifest.heatmap_range
    # SOURCE_DATE_EPOCH (reproducible-builds.org) fixes the time, so that equal inputs give equal bytes.
    try:
        now = float(os.environ.get("SOURCE_DATE_EPOCH") or time.time())
        when = datetime.datetime.fromtimestamp(now, datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC")
    except (ValueError, OverflowError, OSError):
        raise UsageError("SOURCE_DATE_EPOCH must be a time in seconds since 1970") from None
    return {
        "title": title.encode("utf-8", "backslashreplace").decode("utf-8"),
        "run": asdict(run),
        "when": when,
        "demonstration": manifest.demonstration,
        "spread": asdict(Spread.of(manifest.calibration)),
        "words": words(run),
        "scale": [limits.low, limits.high] if limits else None,
        "crop": manifest.preprocess.crop / manifest.preprocess.resize_short,
        "colours": hex_colours(),
        "opacity": OPACITY,
    }


def page_frame(info: dict[str, Any]) -> tuple[str, str]:
    """The parts of the page before and after its records."""
    page, style, script = templates("report.html"), templates(*STYLES), templates(*SCRIPTS)
    policy = (
        f"default-src 'none'; img-src data: 'self' file:; style-src '{csp_hash(style)}'; "
        f"script-src '{csp_hash(script)}'; base-uri 'none'; form-action 'none'"
    )
    values = {
        "policy": policy, "title": html.escape(info["title"]), "style": style, "script": script,
        "info": script_json(info),
    }
    head, tail = page.split("{{chunks}}")
    # Filled in one pass, so that a placeholder inside a title or script is not filled. jinja2 has no advantage here:
    # records are pushed while a template pulls, so the page is cut in two in any case, and the escaping is JSON's.
    fill = functools.partial(re.sub, r"\{\{(\w+)\}\}", lambda match: values[match[1]])
    return fill(head), fill(tail)


def templates(*names: str) -> str:
    """The text of template files, joined."""
    return "".join((files(__package__) / "templates" / name).read_text(encoding="utf-8") for name in names)


def csp_hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode("ascii")


def script_json(value: Any) -> str:
    """ASCII JSON without `<`, `>` and `&`, which can neither end a `<script>` element nor nest another."""
    text = json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def record_row(record: Record, folder: Path, label: str | None = None) -> tuple[str, str]:
    """A record in a page that lies in `folder`; `label`: its true class, where that is known.

    Returns:
        JSON with one-letter keys and without null values; and the quantised LCAS in base64, "" for none.
    """
    stats, error, ratio = record.stats, record.error, record.likelihood_ratio
    quantised = None if record.lcas is None else quantise(record.lcas)
    values = {
        "p": record.path,
        "f": file_link(record.path, folder),
        "e": error and error.text,
        "k": error and error.kind,
        "v": record.verdict,
        "y": label,
        "q": _rounded(record.probability, 4),
        "l": _rounded(record.logit, 4),
        "s": [_rounded(value, 5) for value in (stats.s1, stats.s2, stats.s3)] if stats else None,
        "x": ratio and [ratio.interval, ratio.text, ratio.support],
        "c": [*record.contradictions.values()] or None,
        "r": [reason.text for reason in record.reasons if reason.code != "band"] or None,  # as `words` for uncertain
        "o": [_fact(fact) for fact in record.evidence] or None,
        "w": record.width,
        "h": record.height,
        "d": record.sha256,
        "m": [_rounded(quantised[1], 5), _rounded(quantised[2], 5)] if quantised else None,
        "g": record.lcas.shape[1] if record.lcas is not None and record.lcas.ndim == 2 else None,
        "t": [[tile.left, tile.top, tile.side, _rounded(tile.logit, 4)] for tile in record.tiles] or None,
        "n": record.frames and _frames(record.frames),
    }
    kept = {key: value for key, value in values.items() if value is not None}
    return script_json(kept), base64.b64encode(quantised[0]).decode("ascii") if quantised else ""


def _fact(fact: Evidence) -> list[str | None]:
    """Statement, place and kind of a fact, what it declares, its value, and its raw text where there is any."""
    values = [fact.statement, fact.source, fact.kind, fact.declares, fact.value, fact.raw]
    return values if fact.raw is not None else values[:5]


def _frames(frames: Frames) -> dict[str, Any]:
    """Frames in the file, index of the frame that gives the verdict, index and probability of each scored frame."""
    scored = [[frame.index, _rounded(frame.probability, 4)] for frame in frames.scored]
    return {"count": frames.count, "from": frames.verdict_from, "scored": scored}


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(float(value), digits)


def quantise(lcas: np.ndarray) -> tuple[bytes, float, float] | None:
    """LCAS, float [N] or [h, w], as one byte for each patch.

    Returns:
        N bytes, `UNKNOWN_BYTE` for NaN, and the LCAS values of the bytes 0 and 254; None if no value is finite.
    """
    values = np.asarray(lcas, np.float64).ravel()
    known = np.isfinite(values)
    if not known.any():
        return None
    low, high = float(values[known].min()), float(values[known].max())
    codes = np.full(values.size, UNKNOWN_BYTE, np.uint8)
    codes[known] = ((values[known] - low) / ((high - low) or 1.0) * (UNKNOWN_BYTE - 1)).round().astype(np.uint8)
    return codes.tobytes(), low, high


def thumbnail(pixels: np.ndarray) -> str:
    """A small JPEG of uint8 [H, W, 3], in base64. (WebP would be a third smaller and take three times as long.)"""
    image = Image.fromarray(pixels)
    image.thumbnail((THUMBNAIL_SIZE, THUMBNAIL_SIZE), Image.Resampling.BICUBIC)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=THUMBNAIL_QUALITY)
    return base64.b64encode(buffer.getvalue()).decode("ascii")


def file_link(path: str, folder: Path) -> str | None:
    """A relative, percent-encoded link from a page in `folder` to a local file; None if the file does not exist."""
    if not path or "\0" in path or not os.path.isfile(path):
        return None
    try:
        relative = os.path.relpath(os.path.abspath(path), os.path.abspath(folder))
    except ValueError:  # another drive on Windows
        return None
    # "./" keeps a file named "javascript:..." from being read as a URL scheme.
    return "./" + quote(relative.replace(os.sep, "/").encode("utf-8", "surrogateescape"))
