"""From an engine's output to the record of one input: the most suspicious frame, its verdict and its reasons.

`ai` and `real` are claims with an error rate, `uncertain` is neither. The engine stores two thresholds
(`manifest.Calibration`). From `ai_from` on the verdict is `ai`: at most a share `false_alarm` of real images gets
there. Below `real_below` it is `real`: at most a share `miss` of AI images lies there. Between them it is `uncertain`.
A reason says that the input differs from the images that the head was fitted on; it qualifies a verdict and does not
change it. A threshold of the caller replaces both, and promises nothing.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np

from ..core.calibration import Calibration, Likelihood
from ..core.environment import cinemae_version
from ..core.errors import UsageError
from ..core.manifest import Decode, Manifest, Precision
from ..engines.base import EngineOutput
from ..images.tiles import stitch
from .likelihood_ratio import LikelihoodRatio
from .options import ScoringOptions
from .prepare import Prepared, Preparer
from .reasons import frame_reasons, quality_reasons, reason, stat_reasons
from .record import Failure, Frames, Record, ScoredFrame, Stats, Tile
from .run import Run, Verdict

NOT_FINITE = Failure("engine", "the engine gave a score that is not finite; use an engine of higher precision")


@dataclass(frozen=True)
class Decision:
    """The thresholds of a run.

    Attributes:
        ai_from: raw logit from which the verdict is `ai`; infinite where it is never given.
        real_below: raw logit below which it is `real`, at most `ai_from`; minus infinity where it is never given.
        false_alarm: largest share of real images called ai; None where nothing is promised.
        miss: largest share of AI images called real; None where nothing is promised.
        uncalibrated: the thresholds are the engine's, and no rate is known for either.
    """

    ai_from: float
    real_below: float
    false_alarm: float | None = None
    miss: float | None = None
    uncalibrated: bool = False

    @classmethod
    def of(cls, calibration: Calibration, threshold: float | None = None) -> Decision:
        """The engine's decision, or for a probability `threshold` in (0, 1) that cut alone, without a band.

        The threshold is a probability at equal priors, whatever prior the run has.

        Raises:
            UsageError: no likelihood ratio of the engine reaches the threshold.
        """
        if threshold is None:
            c = calibration
            false_alarm = None if c.ai_from is None else c.false_alarm
            miss = None if c.real_below is None else c.miss
            return cls(
                math.inf if c.ai_from is None else c.ai_from, -math.inf if c.real_below is None else c.real_below,
                false_alarm, miss, uncalibrated=false_alarm is None and miss is None,
            )
        cut = calibration.logit_of(threshold)
        if not math.isfinite(cut):
            likelihood = cast("Likelihood", calibration.likelihood)
            low, high = (1 / (1 + 10**-power) for power in (likelihood.ratio[0], likelihood.ratio[-1]))
            raise UsageError(
                f"a threshold of {threshold}: the likelihood ratios of this engine support probabilities from "
                f"{low:.2f} to {high:.2f}; choose one between them"
            )
        return cls(cut, cut)

    def verdict(self, logit: float) -> Verdict:
        """The verdict for a finite raw logit of an ordinary image. The one comparison of training and runtime."""
        if logit >= self.ai_from:
            return "ai"
        return "real" if logit < self.real_below else "uncertain"


def run_of(manifest: Manifest, options: ScoringOptions | None = None) -> Run:
    """What the records of an engine have in common, by default at a base rate of one half."""
    options = options or ScoringOptions()
    calibration, decision = manifest.calibration, Decision.of(manifest.calibration, options.threshold)
    decode = cast("Decode | None", options.decode) or manifest.preprocess.decode
    measured = not options.tiles  # nobody measured the rates of a mean of tiles
    return Run(
        engine=manifest.label, precision=cast("Precision | None", options.precision) or manifest.precision,
        prior=options.prior, threshold=options.threshold,
        ai_from=finite(decision.ai_from), real_below=finite(decision.real_below),
        false_alarm=decision.false_alarm if measured else None, miss=decision.miss if measured else None,
        false_alarm_gamma=calibration.false_alarm_gamma, miss_gamma=calibration.miss_gamma,
        withheld=calibration.withheld, decode=decode, max_frames=options.max_frames, tiled=options.tiles,
        cinemae=cinemae_version(),
    )


def finite(logit: float) -> float | None:
    """A threshold as records state it: None where no score reaches it."""
    return logit if math.isfinite(logit) else None


def record_of(
    item: Prepared, output: EngineOutput, manifest: Manifest, run: Run, *, prepare: Preparer | None = None
) -> Record:
    """The record of an input that was decoded.

    Args:
        item: the input.
        output: of its crops, in their order.
        manifest: of the engine.
        run: of the records.
        prepare: decodes the image again, so that the record can draw its heatmap.
    """
    ends = list(itertools.accumulate(len(frame.crops) for frame in item.frames))
    scores = [_mean(output, end - len(frame.crops), end) for frame, end in zip(item.frames, ends, strict=True)]
    chosen = int(np.argmax([logit for logit, _ in scores]))
    frame, end = item.frames[chosen], ends[chosen]
    image, first = frame.crops[0], end - len(frame.crops)
    shared: dict[str, Any] = {"path": item.name, "width": image.width, "height": image.height, "sha256": item.sha256}
    if not all(math.isfinite(one) for logit, stats in scores for one in (logit, stats.s1, stats.s2, stats.s3)):
        return Record(**shared, status="error", error=NOT_FINITE, run=run)
    (logit, stats), lcas = scores[chosen], output.lcas[first]
    probabilities = [manifest.calibration.probability(one, run.prior) for one, _ in scores]
    frames: Frames | None = None
    tiles: tuple[Tile, ...] = ()
    reasons = [*item.reasons[chosen], *quality_reasons(item.evidence, manifest), *stat_reasons(stats, manifest)]
    if item.moving:
        scored = tuple(
            ScoredFrame(one.index, one.time, logit, probability)
            for one, (logit, _), probability in zip(item.frames, scores, probabilities, strict=True)
        )
        frames = Frames(item.count, frame.index, scored)
        if len(scored) > 1:  # no rate is known for the most suspicious of several
            run = replace(run, false_alarm=None, miss=None)
        reasons += [*frame_reasons(frames), *(reason("unseen", note) for note in item.notes)]
    if frame.tiling is not None:
        reasons.append(reason("tiles", len(frame.crops)))
        patch_size = manifest.backbone.config.patch_size
        lcas = stitch(output.lcas[first:end], frame.tiling, manifest.preprocess.crop, patch_size)
        of_tiles = zip(frame.tiling.squares, output.logit[first:end], strict=True)
        tiles = tuple(Tile(*square, float(logit)) for square, logit in of_tiles)
    decision = Decision.of(manifest.calibration, run.threshold)
    verdict = decision.verdict(logit)
    if decision.uncalibrated:
        reasons.append(reason("norate"))
    elif verdict == "uncertain":
        reasons.append(reason("band"))
    return Record(
        **shared, status="ok", verdict=verdict, probability=probabilities[chosen],
        likelihood_ratio=LikelihoodRatio.of(manifest.calibration, logit), logit=logit, stats=stats,
        reasons=tuple(reasons), evidence=item.evidence, scored_area=image.scored_area, frames=frames, tiles=tiles,
        run=run, lcas=np.array(lcas, dtype=np.float32), prepare=prepare,
    )


def _mean(output: EngineOutput, first: int, end: int) -> tuple[float, Stats]:
    """Logit and statistics of a frame: the mean of its crops."""
    logit, stats = output.logit[first:end], output.stats[first:end]
    return float(logit.mean(dtype=np.float64)), Stats(*map(float, stats.mean(axis=0, dtype=np.float64)))
