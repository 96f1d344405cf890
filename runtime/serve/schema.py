"""The JSON bodies of the HTTP interface, from which its OpenAPI description is generated."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

from pydantic import BaseModel, Field

from ..core.calibration import Calibration
from ..core.colour_map import hex_colours
from ..core.manifest import Backbone, Manifest, Training
from ..images.formats import IMAGE_SUFFIXES
from ..report.spread import Spread
from ..scoring.heatmap import CAPTION, CAVEAT, OPACITY
from ..scoring.reading import words
from ..scoring.record import FLAT_FIELDS, Record
from ..scoring.run import Run


class ErrorBody(BaseModel):
    """An upload that was not scored, and why."""

    index: int = Field(description="position in `records`")
    code: int = Field(description="413 too large, 415 not an image, 422 damaged")
    detail: str


class HeatmapBody(BaseModel):
    """The contextual anomaly (LCAS) of each scored patch. High does not mean AI-generated."""

    grid: int = Field(description="patches in one row of the centre crop, or of the whole image where it was tiled")
    lcas: list[float | None] = Field(description="row by row, null where a patch was never masked")


class DetectBody(BaseModel):
    """The response of /v1/detect: one record for each image, in order."""

    records: list[Record]
    errors: list[ErrorBody] = Field(description="one entry for each record with status error")
    heatmaps: list[HeatmapBody | None] | None = Field(None, description="beside `records`, for lcas=true")


class FailedBody(DetectBody):
    """The response if no image was scored; `detail` is the first error."""

    detail: str


class ProblemBody(BaseModel):
    """Why a request was rejected."""

    detail: str


class StateBody(BaseModel):
    """The state of the server."""

    status: str


class EngineBody(BaseModel):
    """The engine, its thresholds and preprocessing, the colours of its heatmaps, and the limits of requests."""

    run: Run
    demonstration: bool
    licence: str
    words: dict[str, str] = Field(description="how the page puts this: a sentence for each verdict, prior and caveat")
    precision: str
    backbone: Backbone
    calibration: Calibration = Field(description="likelihood ratio, thresholds as logits, their images and sources")
    spread: Spread
    training: Training
    tools: dict[str, str] = Field(description="versions that made the engine, and its opset")
    resize_short: int
    crop: int
    grid: int
    heatmap_range: list[float] | None = Field(description="LCAS at the two ends of the fixed colour scale; [low, high]")
    heatmap_opacity: float = OPACITY
    heatmap_caption: str = CAPTION
    heatmap_caveat: str = CAVEAT
    colours: list[str] = Field(hex_colours(), description="the colour table, low to high, as #rrggbb")
    image_suffixes: list[str] = Field(sorted(IMAGE_SUFFIXES), description="files that the page takes from a folder")
    csv_columns: list[str] = Field(list(FLAT_FIELDS), description="columns of a record in CSV")
    limits: dict[str, Any]

    @classmethod
    def of(cls, manifest: Manifest, run: Run, limits: Mapping[str, Any]) -> EngineBody:
        """The body for an engine whose records state `run`."""
        heat, source = manifest.heatmap_range, PurePath(manifest.backbone.source)
        shown = source.name if source.is_absolute() else manifest.backbone.source  # no folders of the engine's maker
        copied = ("demonstration", "licence", "precision", "calibration", "training", "tools")
        return cls(
            run=run,
            words=words(run),
            spread=Spread.of(manifest.calibration),
            backbone=manifest.backbone.model_copy(update={"source": shown}),
            resize_short=manifest.preprocess.resize_short,
            crop=manifest.preprocess.crop,
            grid=manifest.backbone.config.grid,
            heatmap_range=None if heat is None else [heat.low, heat.high],
            limits=dict(limits),
            **{name: getattr(manifest, name) for name in copied},
        )
