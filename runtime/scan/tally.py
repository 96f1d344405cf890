"""Counts of a run, local or on Ray: records by outcome, the exit code that follows, and the closing line."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ..core.errors import ExitCode
from ..scoring.record import Record

OUTCOMES = ("ai", "real", "uncertain", "failed")


@dataclass
class Tally:
    """Counts of records by outcome.

    Attributes:
        ai: records with this verdict.
        real: records with this verdict.
        uncertain: records with this verdict.
        failed: records with status "error".
        kept: how many of all these an earlier run has scored.
    """

    ai: int = 0
    real: int = 0
    uncertain: int = 0
    failed: int = 0
    kept: int = 0

    def add(self, record: Record, kept: bool = False) -> None:
        """Count one record."""
        outcome = record.verdict or "failed"
        setattr(self, outcome, getattr(self, outcome) + 1)
        self.kept += kept

    def merge(self, other: Tally) -> None:
        """Add the counts of `other`."""
        for name in (*OUTCOMES, "kept"):
            setattr(self, name, getattr(self, name) + getattr(other, name))

    @property
    def total(self) -> int:
        """All records."""
        return self.ai + self.real + self.uncertain + self.failed

    def to_dict(self) -> dict[str, int]:
        """Outcome -> count, for a file or another process."""
        return {outcome: getattr(self, outcome) for outcome in OUTCOMES}

    @classmethod
    def from_dict(cls, counts: Mapping[str, int]) -> Tally:
        """The inverse of `to_dict`; other keys are ignored."""
        return cls(*(int(counts[outcome]) for outcome in OUTCOMES))

    def exit_code(self, fail_on_ai: bool) -> int:
        """0 all scored, 1 some failed, 4 AI found under `--fail-on-ai`; failures go first."""
        if self.failed:
            return ExitCode.SOME_INPUTS_FAILED
        return ExitCode.AI_FOUND if fail_on_ai and self.ai else ExitCode.OK

    def summary(self, seconds: float) -> str:
        """One line for people."""
        scored = self.total - self.kept
        unit = "input" if self.total == 1 else "inputs"
        text = f"{self.total:,} {unit}: {self.ai:,} ai, {self.real:,} real, {self.uncertain:,} uncertain"
        text += f", {self.failed:,} failed" if self.failed else ""
        text += f"; {self.kept:,} kept from the earlier run" if self.kept else ""
        return f"{text}; {scored / max(seconds, 1e-9):,.1f} images/s" if scored else text
