"""Records for the tests of what is made of them, without an engine."""

from __future__ import annotations

from cinemae.runtime.scoring.reasons import reason
from cinemae.runtime.scoring.record import Failure, Reason, Record
from cinemae.runtime.scoring.run import Run

RUN = Run(
    engine="tiny@0123", prior=0.5, threshold=None, ai_from=0.9, real_below=0.1, false_alarm=0.05, miss=0.1,
    decode="full", max_frames=4, tiled=False, cinemae="0",
)


def record(path: str, verdict: str | None = None, reasons: tuple[str | Reason, ...] = (), **fields) -> Record:
    """A record with a verdict, or a failed one; reasons as codes, with the value 12 where they have one."""
    made = tuple(reason(one, 12) if isinstance(one, str) else one for one in reasons)
    status = "error" if "error" in fields else "ok"
    return Record(**{"path": path, "status": status, "verdict": verdict, "reasons": made, "run": RUN, **fields})


BROKEN = Failure("unsupported", "not a readable image")
