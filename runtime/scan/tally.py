"""Counts of a run, local or on Ray: records by outcome, the exit code that follows, and the closing line."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ..core.errors import ExitCode
from ..evidence.fact import declares_ai
from ..scoring.record import Record

COUNTS = ("ai", "real", "uncertain", "failed", "declared")


@dataclass
class Tally:
    """Counts of records by outcome.

    Attributes:
        ai: records with this verdict.
        real: records with this verdict.
        uncertain: records with this verdict.
        failed: records with status "error".
        declared: how many of all these are of files that declare AI.
        kept: how many of all these an earlier run has scored.
    """

    ai: int = 0
    real: int = 0
    uncertain: int = 0
    failed: int = 0
    declared: int = 0
    kept: int = 0

    def add(self, record: Record, kept: bool = False) -> None:
        """Count one record."""
        outcome = record.verdict or "failed"
        setattr(self, outcome, getattr(self, outcome) + 1)
        self.declared += declares_ai(record.evidence)
        self.kept += kept

    def merge(self, other: Tally) -> None:
        """Add the counts of `other`."""
        for name in (*COUNTS, "kept"):
            setattr(self, name, getattr(self, name) + getattr(other, name))

    @property
    def total(self) -> int:
        """All records."""
        return self.ai + self.real + self.uncertain + self.failed

    def to_dict(self) -> dict[str, int]:
        """Name -> count, for a file or another process."""
        return {name: getattr(self, name) for name in COUNTS}

    @classmethod
    def from_dict(cls, counts: Mapping[str, int]) -> Tally:
        """The inverse of `to_dict`; other keys are ignored."""
        return cls(*(int(counts[name]) for name in COUNTS))

    def exit_code(self, fail_on_ai: bool, fail_on_declared: bool = False) -> int:
        """0 all scored, 1 some failed, 4 AI found under `--fail-on-ai`, or declared under `--fail-on-declared`."""
        if self.failed:
            return ExitCode.SOME_INPUTS_FAILED
        found = (fail_on_ai and self.ai) or (fail_on_declared and self.declared)
        return ExitCode.AI_FOUND if found else ExitCode.OK

    def summary(self, seconds: float) -> str:
        """One line for people."""
        scored = self.total - self.kept
        unit = "input" if self.total == 1 else "inputs"
        text = f"{self.total:,} {unit}: {self.ai:,} ai, {self.real:,} real, {self.uncertain:,} uncertain"
        text += f", {self.failed:,} failed" if self.failed else ""
        if self.declared:
            text += f"; {self.declared:,} {'file declares' if self.declared == 1 else 'files declare'} AI"
        text += f"; {self.kept:,} kept from the earlier run" if self.kept else ""
        return f"{text}; {scored / max(seconds, 1e-9):,.1f} images/s" if scored else text
