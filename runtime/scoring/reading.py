"""How the records of a run are to be read: the words for its base rate, thresholds and error rates.

Terminal, report, server's page and notebooks take their words from here. A probability depends on the base rate, a
verdict does not; so the two can point in different directions, and then the verdict is displayed without its colour.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from ..evidence.fact import Evidence
from .likelihood_ratio import LikelihoodRatio
from .run import Run, Verdict

CONTRARY = "the probability points the other way"
CAVEAT = "Rates hold for the kinds of images that the engine was measured on; images of a new kind can exceed them."
OWN_THRESHOLD = "your own threshold, no rate is known"
NEITHER = "the score reaches neither threshold, so no rate is promised; the likelihood ratio says what it is worth"
RATIO = (
    "ratio: how many times as often AI images have such a score as real ones do, with its 95 % interval; an interval "
    "that contains 1 supports neither side"
)
CONTRADICTION = "the file declares AI, but the score supports real"



def promise(run: Run, verdict: Verdict) -> str:
    """What `ai` or `real` promises in a run."""
    is_ai = verdict == "ai"
    others = "real" if is_ai else "AI"
    threshold, rate = (run.ai_from, run.false_alarm) if is_ai else (run.real_below, run.miss)
    gamma = run.false_alarm_gamma if is_ai else run.miss_gamma
    if run.threshold is not None:
        return OWN_THRESHOLD
    if verdict in run.withheld:
        return "never given: on the images measured, scores beyond its threshold are no evidence"
    if threshold is None:
        return f"never given, too few {others} images were measured"
    if rate is None:
        return f"no rate is known, any share of {others} images may get this"
    exceeding = f"1 new source in {math.floor(1 / gamma + 1e-9)}" if gamma < 1 else "any new source"
    return f"at most {100 * rate:.2g} % of the {others} images of a source get this; {exceeding} may exceed that"


def words(run: Run) -> dict[str, str]:
    """What each verdict promises (keys `ai`, `real`, `uncertain`), and the sentences beside them.

    `prior` names the base rate, `caveat` limits the rates, `contrary` marks a verdict whose probability points the
    other way, `declared` a file whose declaration contradicts its score.
    """
    return {
        "ai": promise(run, "ai"),
        "real": promise(run, "real"),
        "uncertain": NEITHER,
        "prior": f"assuming that {100 * run.prior:g} % of the images are AI-generated",
        "caveat": "" if run.false_alarm is None and run.miss is None else CAVEAT,
        "contrary": CONTRARY,
        "declared": CONTRADICTION,
    }


def legend(run: Run) -> list[str]:
    """The same as lines of text."""
    said = words(run)
    claims = "; ".join(f"{verdict}: {said[verdict]}" for verdict in ("ai", "real", "uncertain"))
    first = f"ai and real: {OWN_THRESHOLD}" if run.threshold is not None else claims
    return [first, RATIO, f"{said['caveat']} P(AI): {said['prior']}.".strip()]


def is_contrary(verdict: Verdict | None, probability: float | None) -> bool:
    """Whether a verdict stands beside a probability on the other side of one half."""
    if probability is None:
        return False
    return probability > 0.5 if verdict == "real" else verdict == "ai" and probability < 0.5


def contradictions(
    verdict: Verdict | None, probability: float | None, ratio: LikelihoodRatio | None, evidence: Sequence[Evidence]
) -> dict[str, str]:
    """What of a record contradicts its score, its file's declaration or its probability: code -> sentence."""
    is_declared = any(fact.declares == "ai" for fact in evidence)
    supports_real = verdict == "real" or (ratio is not None and ratio.high < 1)
    found = {"declared": CONTRADICTION} if is_declared and supports_real else {}
    return found | ({"prior": CONTRARY} if is_contrary(verdict, probability) else {})
