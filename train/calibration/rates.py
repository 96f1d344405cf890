"""Rates of wrong verdicts that a calibration promises. Nothing heavy is imported: commands make options of them."""

from __future__ import annotations

from dataclasses import dataclass

from ...runtime.core.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class Rates:
    """Largest shares of wrong verdicts in a source, each in (0, 1).

    Attributes:
        false_alarm: at most this share of real images gets the verdict `ai`.
        miss: at most this share of AI images gets the verdict `real`.

    Raises:
        UsageError: a rate is outside of (0, 1).
    """

    false_alarm: float = 0.05
    miss: float = 0.05

    def __post_init__(self) -> None:
        if not (0 < self.false_alarm < 1 and 0 < self.miss < 1):
            raise UsageError(
                f"the rates of wrong verdicts must lie between 0 and 1, got {self.false_alarm:g} and {self.miss:g}"
            )
