"""From an engine's output to the record of one input: the most suspicious frame, its verdict and its reasons."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np

from ..core.manifest import Manifest
from ..engines.base import EngineOutput
from ..images.tiles import stitch
from .prepare import Prepared
from .reading import Reading
from .reasons import TILES, frame_reasons, stat_reasons
from .record import Frames, Record, ScoredFrame, Stats, Tile
from .verdict import Decision, decide, is_finite, verdict_reasons

NOT_FINITE = "the engine gave a score that is not finite; use an engine of higher precision"


def record_of(
    item: Prepared, output: EngineOutput, manifest: Manifest, decision: Decision, reading: Reading,
    new_record: Callable[..., Record],
) -> Record:
    """The record of an input that was decoded.

    Args:
        item: the input.
        output: of its crops, in their order.
        manifest: of the engine.
        decision: thresholds of the run.
        reading: of the run's records.
        new_record: makes a record with the fields that are the same in all of a run.
    """
    scores = [_mean(output, end - len(frame.crops), end) for frame, end in zip(item.frames, _ends(item), strict=True)]
    logits, stats = [logit for logit, _ in scores], [stats for _, stats in scores]
    chosen = int(np.argmax(logits))
    frame, end = item.frames[chosen], _ends(item)[chosen]
    image, first = frame.crops[0], end - len(frame.crops)
    if not all(map(is_finite, logits, stats)):
        return new_record(
            item.name, "error", NOT_FINITE, width=image.width, height=image.height, sha256=item.sha256
        )
    logit, probabilities = logits[chosen], [manifest.calibration.probability(x, reading.prior) for x in logits]
    frames, rates = None, {}
    reasons = [*frame.reasons, *stat_reasons(stats[chosen], manifest)]
    if item.moving:
        scored = tuple(
            ScoredFrame(one.index, one.time, *score)
            for one, *score in zip(item.frames, logits, probabilities, strict=True)
        )
        frames = Frames(item.count, frame.index, scored)
        reasons += [*frame_reasons(frames), *item.notes]
        rates = dict.fromkeys(("false_alarm", "miss")) if len(frames.scored) > 1 else {}
    lcas = output.lcas[first]
    tiles: tuple[Tile, ...] = ()
    if frame.tiling is not None:
        reasons.append(TILES.format(len(frame.crops)))
        patch_size = manifest.backbone.config.patch_size
        lcas = stitch(output.lcas[first:end], frame.tiling, manifest.preprocess.crop, patch_size)
        of_tiles = zip(frame.tiling.squares, output.logit[first:end], strict=True)
        tiles = tuple(Tile(*square, float(logit)) for square, logit in of_tiles)
    verdict = decide(logit, decision, bool(reasons))
    reasons += verdict_reasons(logit, decision, verdict)
    return new_record(
        path=item.name, status="ok", verdict=verdict, probability=probabilities[chosen],
        logit=logit, stats=stats[chosen], reasons=tuple(reasons),
        width=image.width, height=image.height, sha256=item.sha256, evidence=item.evidence, frames=frames,
        scored_area=image.scored_area, tiles=tiles, lcas=np.array(lcas, dtype=np.float32), **rates,
    )


def _ends(item: Prepared) -> list[int]:
    """For each frame, the row after its last crop."""
    return list(itertools.accumulate(len(frame.crops) for frame in item.frames))


def _mean(output: EngineOutput, first: int, end: int) -> tuple[float, Stats]:
    """Logit and statistics of a frame: the mean of its crops."""
    logit, stats = output.logit[first:end], output.stats[first:end]
    return float(logit.mean(dtype=np.float64)), Stats(*map(float, stats.mean(axis=0, dtype=np.float64)))
