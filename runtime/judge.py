"""From an engine's output to the record of one input: the most suspicious frame, its verdict and its reasons."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .engines.base import EngineOutput
from .manifest import Manifest
from .reading import Reading
from .reasons import frame_reasons, stat_reasons
from .records import Frames, Record, ScoredFrame, Stats
from .sources import Prepared
from .verdict import Decision, band_reason, decide, is_finite

NOT_FINITE = "the engine gave a score that is not finite; use an engine of higher precision"


def record_of(
    item: Prepared, output: EngineOutput, manifest: Manifest, decision: Decision, reading: Reading,
    new_record: Callable[..., Record],
) -> Record:  # fmt: skip
    """The record of an input that was decoded.

    Args:
        item: the input.
        output: of its crops, in their order.
        manifest: of the engine.
        decision: thresholds of the run.
        reading: of the run's records.
        new_record: makes a record with the fields that are the same in all of a run.
    """
    logits = [float(value) for value in output.logit]
    stats = [Stats(*(float(value) for value in row)) for row in output.stats]
    chosen = int(np.argmax(logits))
    image = item.frames[chosen].crops[0]
    if not all(map(is_finite, logits, stats)):
        return new_record(
            item.name, "error", NOT_FINITE, width=image.width, height=image.height, sha256=item.sha256
        )
    logit, probabilities = logits[chosen], [manifest.calibration.probability(x, reading.prior) for x in logits]
    frames, rates = None, {}
    reasons = [*item.frames[chosen].reasons, *stat_reasons(stats[chosen], manifest)]
    if item.moving:
        scores = zip(item.frames, logits, probabilities, strict=True)
        scored = tuple(ScoredFrame(frame.index, frame.time, *score) for frame, *score in scores)
        frames = Frames(item.count, item.frames[chosen].index, scored)
        reasons += [*frame_reasons(frames), *item.notes]
        rates = dict.fromkeys(("false_alarm", "miss")) if len(frames.scored) > 1 else {}
    verdict = decide(logit, decision, bool(reasons))
    inside = band_reason(logit, decision, verdict)
    return new_record(
        path=item.name, status="ok", verdict=verdict, probability=probabilities[chosen],
        logit=logit, stats=stats[chosen], reasons=tuple(reasons if inside is None else [*reasons, inside]),
        width=image.width, height=image.height, sha256=item.sha256, evidence=item.evidence, frames=frames,
        lcas=np.array(output.lcas[chosen], dtype=np.float32), **rates,
    )  # fmt: skip
