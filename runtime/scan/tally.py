"""Counts of a run: records by verdict, the exit code that follows, and the closing line."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import ExitCode
from ..records import Record


@dataclass
class Tally:
    """Counts of a run."""

    ok: int = 0
    failed: int = 0
    ai: int = 0
    real: int = 0
    uncertain: int = 0
    kept: int = 0

    def add(self, record: Record) -> None:
        """Count one record."""
        if record.status == "error":
            self.failed += 1
            return
        self.ok += 1
        self.ai += record.verdict == "ai"
        self.real += record.verdict == "real"
        self.uncertain += record.verdict == "uncertain"

    @property
    def total(self) -> int:
        """All inputs."""
        return self.ok + self.failed

    def exit_code(self, fail_on_ai: bool) -> int:
        """0 all scored, 1 some failed, 4 AI found under `--fail-on-ai`; failures go first."""
        if self.failed:
            return ExitCode.SOME_INPUTS_FAILED
        return ExitCode.AI_FOUND if fail_on_ai and self.ai else ExitCode.OK

    def summary(self, seconds: float) -> str:
        """One line for people."""
        scored = self.total - self.kept
        text = f"{self.total:,} inputs: {self.ai:,} ai, {self.real:,} real, {self.uncertain:,} uncertain"
        text += f", {self.failed:,} failed" if self.failed else ""
        text += f"; {self.kept:,} kept from the earlier run" if self.kept else ""
        return f"{text}; {scored / max(seconds, 1e-9):,.1f} images/s" if scored else text
