"""Records for the tests of what is made of them, without an engine."""

from __future__ import annotations

from cinemae.runtime.core.calibration import Likelihood
from cinemae.runtime.scoring.reasons import reason
from cinemae.runtime.scoring.record import Failure, Reason, Record
from cinemae.runtime.scoring.run import Run

RUN = Run(
    engine="tiny@0123", precision="fp32", prior=0.5, threshold=None, ai_from=2.0, real_below=-2.0, false_alarm=0.05,
    miss=0.1, false_alarm_gamma=0.1, miss_gamma=0.05, withheld=(), decode="full", max_frames=4, tiled=False,
    cinemae="0",
)
LIKELIHOOD = Likelihood(
    logits=(-4.0, -1.0, 0.0, 1.0, 4.0), ratio=(-2.0, -0.5, 0.0, 0.5, 2.0), low=(-3.0, -0.8, -0.2, 0.2, 1.0),
    high=(-1.0, -0.2, 0.2, 0.8, 3.0), real_share=(1.0, 0.8, 0.5, 0.2, 0.01), ai_share=(1.0, 0.95, 0.8, 0.6, 0.05),
)
"""Of an engine whose ratio is 10 at a logit of 2, with an interval from 2.9 to 34."""


def record(path: str, verdict: str | None = None, reasons: tuple[str | Reason, ...] = (), **fields) -> Record:
    """A record with a verdict, or a failed one; reasons as codes, with the value 12 where they have one."""
    made = tuple(reason(one, 12) if isinstance(one, str) else one for one in reasons)
    status = "error" if "error" in fields else "ok"
    return Record(**{"path": path, "status": status, "verdict": verdict, "reasons": made, "run": RUN, **fields})


BROKEN = Failure("unsupported", "not a readable image")
