"""What the records of a run have in common: its engine, options, thresholds and rates."""

from __future__ import annotations

from typing import Literal

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from ..core.manifest import Decode, Precision

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
    precision: Precision
    """Arithmetic of the products: the engine's own, or what `--precision` asks for."""
    prior: float
    """Share of AI images that probabilities assume, in (0, 1)."""
    threshold: float | None
    """Probability, at equal priors, that the caller set in place of the engine's two thresholds."""
    ai_from: float | None
    """Raw logit from which the verdict is `ai`; null if it is never given."""
    real_below: float | None
    """Raw logit below which the verdict is `real`; null if it is never given."""
    false_alarm: float | None
    """Largest share of a source's real images that get `ai`; null where no rate is known."""
    miss: float | None
    """Largest share of a source's AI images that get `real`; null where no rate is known."""
    false_alarm_gamma: float
    """Largest share of new sources whose real images may exceed `false_alarm`."""
    miss_gamma: float
    """Largest share of new sources whose AI images may exceed `miss`."""
    withheld: tuple[Verdict, ...]
    """Verdicts that are never given, because scores beyond their threshold are no evidence for them."""
    decode: Decode
    """How large images are decoded."""
    max_frames: int
    """Frames of an animation or a video that are scored."""
    tiled: bool
    """Whether overlapping squares are scored in place of the centre crop."""
    cinemae: str
    """Version of the package."""
