"""Rates of wrong verdicts that a calibration promises. Nothing heavy is imported: commands make options of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from ...runtime.core.errors import UsageError
from ...runtime.core.option import Option, share


@dataclass(frozen=True, kw_only=True)
class Rates:
    """Largest shares of wrong verdicts in a source, and how many new sources may exceed them, each in (0, 1).

    Attributes:
        false_alarm: the verdict `ai` is for logits that at most this share of a source's real images reaches.
        miss: the verdict `real` is for logits below which at most this share of a source's AI images lies.
        gamma: share of new sources that may exceed these rates, as 0.1 or 1/10.

    Raises:
        UsageError: a rate is outside of (0, 1).
    """

    false_alarm: float = 0.05
    miss: float = 0.05
    gamma: Annotated[float, Option(metavar="SHARE", parser=share("--gamma"))] = 0.1

    def __post_init__(self) -> None:
        for name in ("false_alarm", "miss", "gamma"):
            if not 0 < getattr(self, name) < 1:
                raise UsageError(f"{name} must lie between 0 and 1, got {getattr(self, name):g}")
