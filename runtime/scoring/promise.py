"""The words for what a verdict promises; terminal, report, page and notebooks say it in the same ones."""

from __future__ import annotations

OWN_THRESHOLD = "your own threshold, no rate is known"
UNCALIBRATED = (
    "this engine has no calibrated thresholds: the verdict has no known error rate (cinemae-train calibrate sets them)"
)
NEITHER = "the score supports neither"


def promise(threshold: float | None, rate: float | None, others: str, own: bool = False) -> str:
    """What `ai` or `real` promises.

    Args:
        threshold: probability at which the verdict begins; None where it is never given.
        rate: largest share of the other class that gets it; None where none is known.
        others: name of that class, "real" or "AI".
        own: the caller gave the threshold.
    """
    if own:
        return OWN_THRESHOLD
    if threshold is None:
        return f"never given, too few {others} images were measured"
    if rate is None:
        return f"no rate is known, any share of {others} images may get this"
    return f"at most {100 * rate:g} % of {others} images get this"
