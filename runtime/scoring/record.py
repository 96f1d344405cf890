"""The record of one input. JSON lines, CSV columns, data frames, Parquet and the server's API follow from it."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import field, fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias

import numpy as np
from PIL import Image
from pydantic import Field, SkipValidation
from pydantic.dataclasses import dataclass
from pydantic.json_schema import SkipJsonSchema

from ..core.environment import require
from ..core.errors import ErrorKind, UsageError
from ..core.manifest import StatRange
from ..evidence.fact import Evidence
from ..images.source import AnySource
from .heatmap import figure, save_heatmap
from .likelihood_ratio import LikelihoodRatio
from .reading import contradictions
from .run import CONFIG, Run, Verdict

if TYPE_CHECKING:
    import pandas

RECORD_SCHEMA = 1

Status = Literal["ok", "error"]
LcasMap: TypeAlias = SkipJsonSchema[SkipValidation[np.ndarray | None]]
Preparation: TypeAlias = SkipJsonSchema[SkipValidation[Any]]
"""A `prepare.Preparer`, whose module imports this one."""


@dataclass(frozen=True, config=CONFIG)
class Failure:
    """Why an input has no score."""

    kind: ErrorKind
    """missing: no such file; unreadable: it cannot be opened or fetched; unsupported: no kind of image that is decoded;
    damaged: its content is broken; too_large: it exceeds a limit; engine: the engine gave no finite score."""
    text: str
    """The same as a sentence, with the fix where there is one."""


@dataclass(frozen=True, config=CONFIG)
class Reason:
    """Something that qualifies a score."""

    code: str
    """One of a fixed set of words, such as `grey`."""
    text: str
    """The same as a sentence."""


@dataclass(frozen=True, config=CONFIG)
class Stats:
    """The three statistics of the anomaly score [Eq. 6]."""

    s1: float
    """Variability."""
    s2: float
    """Overall anomaly."""
    s3: float
    """Perturbation sensitivity."""


@dataclass(frozen=True, config=CONFIG)
class ScoredFrame:
    """The score of one frame of an animation or a video."""

    index: int
    """Position in the file, from 0."""
    time: float | None
    """Of its appearance in seconds from the first frame; null where the file does not tell."""
    logit: float
    """The raw score."""
    probability: float
    """As the record's `probability`."""


@dataclass(frozen=True, config=CONFIG)
class Frames:
    """The frames of an animation or a video, of which the most suspicious one gives the record's score."""

    count: int | None
    """Frames in the file, as it claims; null where that is not known."""
    verdict_from: int
    """`index` of the frame with the largest logit, to which all other fields of the record belong."""
    scored: tuple[ScoredFrame, ...]
    """The frames that were scored."""


@dataclass(frozen=True, config=CONFIG)
class Tile:
    """The score of one of the overlapping squares of `--tiles`, in pixels of the image as displayed."""

    left: int
    top: int
    side: int
    logit: float
    """The raw score; the record's is the mean of all tiles."""


@dataclass(frozen=True, kw_only=True, config=CONFIG)
class Record:
    """One image's record. The fields up to `schema` are the JSON record, in this order."""

    path: str
    """Name of the input, always valid Unicode (bytes that are not UTF-8 appear as `\\xNN`)."""
    status: Status
    error: Failure | None = None
    """Why there is no score; set where the status is `error`."""
    verdict: Verdict | None = None
    """From the raw logit and the engine's two thresholds; the prior does not change it."""
    probability: float | None = None
    """Prior odds times what the interval of the likelihood ratio supports, in [0, 1]: no more than was measured."""
    likelihood_ratio: LikelihoodRatio | None = None
    """Null where the engine was not measured."""
    logit: float | None = None
    """The raw score."""
    stats: Stats | None = None
    reasons: tuple[Reason, ...] = ()
    """What qualifies the score; empty for an ordinary image."""
    evidence: tuple[Evidence, ...] = ()
    """Facts about the image's origin from its own file; they never change the score."""
    width: int | None = None
    """Of the image as displayed, before any resize."""
    height: int | None = None
    """Of the image as displayed, before any resize."""
    sha256: str | None = None
    """Of the input's bytes, hex; null for arrays and Pillow images and where nothing could be read."""
    scored_area: float | None = None
    """Share of the image's area that was scored, in (0, 1]: the centre crop, or all tiles together."""
    frames: Frames | None = None
    """Of an animation or a video; null for a still image."""
    tiles: tuple[Tile, ...] = ()
    """Under `--tiles`, the squares that were scored; empty for the centre crop."""
    run: Run
    """What is the same for all records of the run."""
    schema: int = RECORD_SCHEMA
    """Version of this record."""
    lcas: Annotated[LcasMap, Field(exclude=True)] = field(default=None, repr=False, compare=False)
    """float32 [N] anomaly map for heatmaps, [h, w] of tiles; NaN where a patch was never masked; not part of the JSON
    record."""
    prepare: Annotated[Preparation, Field(exclude=True)] = field(default=None, repr=False, compare=False)
    """The detector's, which decodes the image again for a heatmap; None for a record that was read from a file."""

    def __repr__(self) -> str:
        said = self.error.text if self.error else f"{self.verdict}, P(AI) {self.probability:.1%}"
        return f"<Record {self.path}: {said}>"

    def to_dict(self) -> dict[str, Any]:
        """The JSON record: plain types, keys in schema order."""
        return to_dict(self)

    def _repr_html_(self) -> str:
        """How notebooks show the record: verdict with its rate, heatmap, reasons, facts of the file."""
        from .record_html import record_html

        return record_html(to_dict(self), self.run, self.lcas, self.contradictions)

    def heatmap(self, source: AnySource | None = None) -> Image.Image:
        """The picture beside its anomaly map, as `cinemae run --heatmaps` draws them.

        Args:
            source: the image again; None reads it from `path`.

        Raises:
            UsageError: the record has no map, or comes from a file; the image cannot be read, or is another one now.
        """
        return figure(*self._drawn(source))

    def save_heatmap(self, path: str | Path, source: AnySource | None = None) -> None:
        """Write `heatmap(source)` as PNG, atomically; an earlier heatmap at `path` is replaced.

        Raises:
            UsageError: as `heatmap`; or the file at `path` is not a heatmap.
        """
        save_heatmap(path, *self._drawn(source))

    def _drawn(self, source: AnySource | None) -> tuple[np.ndarray, np.ndarray, StatRange | None]:
        """What `figure` takes: pixels, map and scale."""
        if self.prepare is None or self.lcas is None:
            why = self.error.text if self.error else "a record of a file holds no anomaly map; score the image again"
            raise UsageError(f"{self.path}: no heatmap: {why}")
        again = self.prepare(self.path if source is None else source)
        pixels = again.picture(self)
        if again.error or again.sha256 != self.sha256 or pixels is None:
            why = again.error.text if again.error else "this is another image than the one that was scored"
            raise UsageError(f"{self.path}: no heatmap: {why}; give the image, heatmap(source)")
        return pixels, self.lcas, self.prepare.manifest.heatmap_range

    @property
    def contradictions(self) -> dict[str, str]:
        """What displays add to the reasons: code -> sentence. A contradicted verdict is shown without its colour."""
        return contradictions(self.verdict, self.probability, self.likelihood_ratio, self.evidence)


STATS_FIELDS = tuple(item.name for item in fields(Stats))
RATIO_COLUMNS = {
    "likelihood_ratio": "value", "ratio_low": "low", "ratio_high": "high", "real_share": "real_share",
    "ai_share": "ai_share", "support": "support",
}
"""Column of a table -> field of the likelihood ratio."""
RECORD_FIELDS = tuple(item.name for item in fields(Record) if item.name not in ("lcas", "prepare"))
_COLUMNS = {
    "error": ("error", "error_kind"), "stats": STATS_FIELDS, "likelihood_ratio": tuple(RATIO_COLUMNS),
    "reasons": ("reasons", "reason_codes"),
    "run": tuple(item.name for item in fields(Run)),
}
FLAT_FIELDS = tuple(column for name in RECORD_FIELDS for column in _COLUMNS.get(name, (name,)))
"""Columns of a record in a table: `stats` becomes three, `run` one for each of its fields; sentences are joined."""


def _plain(value: Any) -> Any:
    if is_dataclass(value):
        return {item.name: _plain(getattr(value, item.name)) for item in fields(value)}
    return [_plain(one) for one in value] if isinstance(value, tuple) else value


def to_dict(record: Record) -> dict[str, Any]:
    """The JSON record: plain types, keys in schema order."""
    return {name: _plain(getattr(record, name)) for name in RECORD_FIELDS}


def flat(record: Record) -> dict[str, Any]:
    """The record as one row of a table, with the columns `FLAT_FIELDS`; None for none."""
    values = to_dict(record)
    values |= (values.pop("stats") or dict.fromkeys(STATS_FIELDS)) | values.pop("run")
    values |= {column: getattr(record.likelihood_ratio, name, None) for column, name in RATIO_COLUMNS.items()}
    values["withheld"] = " ".join(record.run.withheld)
    values["error"], values["error_kind"] = (record.error.text, record.error.kind) if record.error else (None, None)
    values["reasons"] = "; ".join(reason.text for reason in record.reasons)
    values["reason_codes"] = " ".join(reason.code for reason in record.reasons)
    values["evidence"] = "; ".join(fact.statement for fact in record.evidence)
    for name in ("frames", "tiles"):
        values[name] = json.dumps(values[name]) if values[name] else None
    return {name: values[name] for name in FLAT_FIELDS}


def to_dataframe(records: Iterable[Record]) -> pandas.DataFrame:
    """One row a record, in order, with the columns of the CSV format.

    Args:
        records: any number, such as `Detector.detect_many` yields.

    Returns:
        A frame whose columns are `FLAT_FIELDS`: s1, s2 and s3 instead of `stats`; reasons and the statements of
        `evidence` joined by "; ". What a record lacks is missing (NaN or None).

    Raises:
        MissingDependencyError: pandas is not installed.
    """
    require("a data frame", "pandas", "pandas")
    import pandas

    return pandas.DataFrame([flat(record) for record in records], columns=list(FLAT_FIELDS))


def from_dict(values: Mapping[str, Any]) -> Record:
    """The inverse of `to_dict`. Unknown keys are ignored.

    Raises:
        KeyError, TypeError, ValueError: not a record of this schema.
    """
    if values["schema"] != RECORD_SCHEMA:
        raise ValueError(f"record schema {values['schema']!r} is not {RECORD_SCHEMA}")
    return Record(**{name: values[name] for name in RECORD_FIELDS})


def to_json(record: Record) -> str:
    """The record as one line of JSON without the newline."""
    return json.dumps(to_dict(record), ensure_ascii=False, allow_nan=False)


def lcas_values(record: Record) -> list[float | None] | None:
    """The anomaly map for JSON: None (null) for patches that no run masked."""
    if record.lcas is None:
        return None
    return [None if math.isnan(value) else float(value) for value in record.lcas.ravel()]
