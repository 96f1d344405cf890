"""The record: what is known about one input after scoring. One schema for the commands, Python, the server and Ray."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from .manifest import Manifest

RECORD_SCHEMA = 1
SHORT_HASH = 12

Status = Literal["ok", "error"]
Verdict = Literal["ai", "real", "uncertain"]


@dataclass(frozen=True)
class Stats:
    """The three statistics of Eq. 6: variability, overall anomaly, perturbation sensitivity."""

    s1: float
    s2: float
    s3: float


@dataclass(frozen=True)
class Record:
    """One input's result; the fields up to `schema` are the JSON record, in this order.

    Attributes:
        path: the input's name, always valid Unicode (bytes that are not UTF-8 appear as `\\xNN`).
        status: "ok", or "error" and then `error` says why and the scores are None.
        verdict: from the raw logit by the manifest's band, see `verdict.decide`.
        probability: calibrated P(AI) in [0, 1]. logit: raw.
        reasons: sentences that qualify the score; empty for an ordinary image.
        width, height: of the image as displayed, before any resize.
        sha256: of the input's bytes, hex; None for arrays and Pillow images and where nothing could be read.
        engine: name, short content hash, and "(demonstration)" for the bundled engine.
        lcas: float32 [N] anomaly map for heatmaps, NaN where never masked; not part of the JSON record.
    """

    path: str
    status: Status
    error: str | None = None
    verdict: Verdict | None = None
    probability: float | None = None
    logit: float | None = None
    stats: Stats | None = None
    reasons: tuple[str, ...] = ()
    width: int | None = None
    height: int | None = None
    sha256: str | None = None
    engine: str = ""
    schema: int = RECORD_SCHEMA
    lcas: np.ndarray | None = field(default=None, repr=False, compare=False)


RECORD_FIELDS = tuple(name for name in Record.__dataclass_fields__ if name != "lcas")


def engine_label(manifest: Manifest) -> str:
    """How records name an engine: `name@short hash`, marked when it is a demonstration."""
    label = f"{manifest.name}@{manifest.content_sha256[:SHORT_HASH]}"
    return f"{label} (demonstration)" if manifest.demonstration else label


def to_dict(record: Record) -> dict[str, Any]:
    """The JSON record: plain types, keys in schema order."""
    values = {name: getattr(record, name) for name in RECORD_FIELDS}
    stats = record.stats
    values["stats"] = None if stats is None else {"s1": stats.s1, "s2": stats.s2, "s3": stats.s3}
    values["reasons"] = list(record.reasons)
    return values


def from_dict(values: Mapping[str, Any]) -> Record:
    """The inverse of `to_dict`; unknown keys are ignored, so that a newer minor schema still reads.

    Raises:
        KeyError, TypeError, ValueError: not a record of this schema.
    """
    if values["schema"] != RECORD_SCHEMA:
        raise ValueError(f"record schema {values['schema']!r} is not {RECORD_SCHEMA}")
    known = {name: values[name] for name in RECORD_FIELDS}
    stats = known["stats"]
    known["stats"] = None if stats is None else Stats(float(stats["s1"]), float(stats["s2"]), float(stats["s3"]))
    known["reasons"] = tuple(known["reasons"])
    return Record(**known)


def to_json(record: Record) -> str:
    """The record as one line of JSON without the newline."""
    return json.dumps(to_dict(record), ensure_ascii=False, allow_nan=False)


def lcas_values(record: Record) -> list[float | None] | None:
    """The anomaly map for JSON: None (null) for patches that no run masked."""
    if record.lcas is None:
        return None
    return [None if math.isnan(value) else float(value) for value in record.lcas]
