"""How the records of a run are to be read: the words for its base rate, thresholds and error rates.

Terminal, report, server's page and notebooks take their words from here. A probability depends on the base rate, a
verdict does not; so the two can point in different directions, and then the verdict is displayed without its colour.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from ..evidence.fact import Evidence, declares_ai
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
NEXT = {
    "declared": "Ask what made it: the file itself declares AI, but a declaration can be copied into a photograph",
    "original": "Find the original: search for the earliest and largest copy; later ones score worse and lose facts",
    "camera": "Ask for the camera file: as the camera wrote it, sent as a document, with the pictures around it",
    "copies": "Compare other copies: captions, dates, crops, and pictures of the same scene by other people",
    "engine": "Use a stronger engine: cinemae make fits and measures one on labelled images like yours",
}
"""Code -> what a person can do about an image that the score does not decide."""


def promise(run: Run, verdict: Verdict) -> str:
    """What `ai` or `real` promises in a run."""
    is_ai = verdict == "ai"
    others = "real" if is_ai else "AI"
    threshold, rate = (run.ai_from, run.false_alarm) if is_ai else (run.real_below, run.miss)
    gamma = run.false_alarm_gamma if is_ai else run.miss_gamma
    if run.threshold is not None:
        return OWN_THRESHOLD
    if verdict in run.withheld:
        return "never given: on the images measured, scores beyond its threshold are no evidence; use a stronger engine"
    if threshold is None:
        return f"never given, too few {others} images were measured"
    if rate is None:
        return f"no rate is known, any share of {others} images may get this"
    exceeding = f"1 new source in {math.floor(1 / gamma + 1e-9)}" if gamma < 1 else "any new source"
    return f"at most {100 * rate:.2g} % of the {others} images of a source get this; {exceeding} may exceed that"


def words(run: Run) -> dict[str, str]:
    """What each verdict promises (keys `ai`, `real`, `uncertain`), and the sentences beside them.

    `prior` names the base rate, `caveat` limits the rates, `contrary` marks a verdict whose probability points the
    other way, `declared` a file whose declaration contradicts its score; `next_` and a code of `NEXT`: what to do.
    """
    return {
        "ai": promise(run, "ai"),
        "real": promise(run, "real"),
        "uncertain": NEITHER,
        "prior": f"assuming that {100 * run.prior:g} % of the images are AI-generated",
        "caveat": "" if run.false_alarm is None and run.miss is None else CAVEAT,
        "contrary": CONTRARY,
        "declared": CONTRADICTION,
        **{f"next_{code}": text for code, text in NEXT.items()},
    }


def next_steps(verdict: Verdict | None, is_contradicted: bool, is_declared: bool) -> list[str]:
    """Codes of `NEXT` for one record: none where a verdict was given and nothing contradicts it."""
    if verdict != "uncertain" and not is_contradicted:
        return []
    return [*(["declared"] if is_declared else ["original", "camera"]), "copies", "engine"]


def next_words(steps: Sequence[str]) -> str:
    """The first words of each of some `next_steps`, as "what next: find the original, ask for the camera file"."""
    return f"what next: {', '.join(NEXT[code].partition(':')[0].lower() for code in steps)}"


def legend(run: Run) -> list[str]:
    """The same as lines of text."""
    said = words(run)
    claims = [f"{verdict}: {said[verdict]}" for verdict in ("ai", "real", "uncertain")]
    first = [f"ai and real: {OWN_THRESHOLD}"] if run.threshold is not None else claims
    return [*first, RATIO, f"{said['caveat']} P(AI): {said['prior']}.".strip()]


def contradictions(
    verdict: Verdict | None, probability: float | None, ratio: LikelihoodRatio | None, evidence: Sequence[Evidence]
) -> dict[str, str]:
    """What of a record contradicts its score, its file's declaration or its probability: code -> sentence."""
    supports_real = verdict == "real" or (ratio is not None and ratio.high < 1)
    found = {"declared": CONTRADICTION} if supports_real and declares_ai(evidence) else {}
    at = 0.5 if probability is None else probability
    if (verdict == "real" and at > 0.5) or (verdict == "ai" and at < 0.5):
        found["prior"] = CONTRARY
    return found
