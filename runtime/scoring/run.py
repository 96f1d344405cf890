"""What the records of a run have in common: its engine, options, thresholds and rates."""

from __future__ import annotations

from typing import Literal

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from ..core.manifest import Decode

Verdict = Literal["ai", "real", "uncertain"]

CONFIG = ConfigDict(
    arbitrary_types_allowed=True, json_schema_serialization_defaults_required=True, use_attribute_docstrings=True
)
"""Of every part of a record: its docstrings describe the fields of the JSON schema."""


@dataclass(frozen=True, config=CONFIG)
class Run:
    """What is the same for all records of a run."""

    engine: str
    """Name and short content hash, and `(demonstration)` for the bundled engine."""
    prior: float
    """Share of AI images that probabilities assume, in (0, 1)."""
    threshold: float | None
    """Probability, at equal priors, that the caller set in place of the engine's two thresholds."""
    ai_from: float | None
    """Probability from which the verdict is `ai`, at this prior; null if it is never given."""
    real_below: float | None
    """Probability below which the verdict is `real`, at this prior; null if it is never given."""
    false_alarm: float | None
    """Largest share of a source's real images that get `ai`; null where no rate is known."""
    miss: float | None
    """Largest share of a source's AI images that get `real`; null where no rate is known."""
    decode: Decode
    """How JPEGs are decoded."""
    max_frames: int
    """Frames of an animation or a video that are scored."""
    tiled: bool
    """Whether overlapping squares are scored in place of the centre crop."""
    cinemae: str
    """Version of the package."""
