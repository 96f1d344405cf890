"""The JSON bodies of the HTTP interface, as they appear in its OpenAPI description."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field

from ..records import Record


class ErrorBody(BaseModel):
    """Which upload failed, and whose fault it is."""

    index: int = Field(description="position in `records`")
    code: int = Field(description="413 too large, 415 not an image, 422 damaged")
    detail: str


class HeatmapBody(BaseModel):
    """The contextual anomaly of each patch of the centre crop. High does not mean AI-generated."""

    grid: int = Field(description="patches along one side, row-major")
    lcas: list[float | None] = Field(description="grid x grid values, null where a patch was never masked")


class DetectBody(BaseModel):
    """The answer of /v1/detect: one record for each image, in order."""

    records: list[Record]
    errors: list[ErrorBody] = Field(description="one entry for each record with status error")
    heatmaps: list[HeatmapBody | None] | None = Field(None, description="beside `records`, for lcas=true")


class FailedBody(DetectBody):
    """The answer when no image was scored; `detail` is the first error."""

    detail: str


class ProblemBody(BaseModel):
    """Why a request was not answered."""

    detail: str


class StateBody(BaseModel):
    """The state of the server."""

    status: str


class EngineBody(BaseModel):
    """What the page and other clients need to know about the engine and the limits."""

    engine: str
    demonstration: bool
    licence: str
    threshold: float = Field(description="probability from which the verdict is ai")
    uncertain: list[float] = Field(description="the band of probabilities that is neither; [low, high]")
    resize_short: int
    crop: int
    grid: int
    heatmap_range: list[float] | None = Field(description="LCAS at the two ends of the fixed colour scale; [low, high]")
    heatmap_opacity: float
    heatmap_caption: str
    heatmap_caveat: str
    colours: list[str] = Field(description="the colour table, low to high, as #rrggbb")
    limits: dict[str, Any]
