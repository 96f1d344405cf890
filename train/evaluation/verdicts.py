"""Shares of each verdict by class and source, and whether the promised rates held."""

from __future__ import annotations

import math
from dataclasses import dataclass

from scipy.stats import binomtest

from ...runtime.core.calibration import Calibration
from ...runtime.scoring.verdict import Decision
from ..reporting.tables import Cell, Table
from .scores import LabelledScores

CONFIDENCE = 0.95
WHOLE = "all"


@dataclass(frozen=True)
class VerdictCounts:
    """Verdicts that one source's images of one class got.

    Attributes:
        source: generator; `WHOLE` for a class as a whole, after its generators.
        label: "ai" or "real".
        ai: images called ai.
        uncertain: images called uncertain.
        real: images called real.
    """

    source: str
    label: str
    ai: int
    uncertain: int
    real: int

    @property
    def images(self) -> int:
        """Number of images."""
        return self.ai + self.uncertain + self.real

    @property
    def wrong(self) -> int:
        """Images that got the verdict of the other class."""
        return self.ai if self.label == "real" else self.real


def count_verdicts(scores: LabelledScores, calibration: Calibration) -> tuple[VerdictCounts, ...]:
    """Count the verdicts of ordinary images, class by class: each generator, then the whole class."""
    decision = Decision.of(calibration)
    verdicts = [decision.verdict(float(logit)) for logit in scores.logits]
    counts = []
    for number, label in ((0, "real"), (1, "ai")):
        own = [
            (generator, verdict)
            for generator, verdict, of in zip(scores.generators, verdicts, scores.labels, strict=True)
            if of == number
        ]
        names: list[str | None] = [*sorted({generator for generator, _ in own}), None] if own else []
        for source in names:
            chosen = [verdict for generator, verdict in own if source in (None, generator)]
            numbers = (chosen.count(name) for name in ("ai", "uncertain", "real"))
            counts.append(VerdictCounts(WHOLE if source is None else source, label, *numbers))
    return tuple(counts)


def promise_text(calibration: Calibration) -> str:
    """What the verdicts of an engine promise, in one line."""
    c = calibration
    ai, real = (
        _never_given(rate, others) if threshold is None else
        "no rate known" if rate is None else f"at most {rate:.1%} of {others} images get it"
        for threshold, rate, others in ((c.ai_from, c.false_alarm, "real"), (c.real_below, c.miss, "AI"))
    )
    bounds = [f"{'from' if name == 'ai' else 'below'} logit {threshold:.4f}" if threshold is not None else ""
              for name, threshold in (("ai", c.ai_from), ("real", c.real_below))]
    band = "nothing is uncertain" if None is not c.ai_from == c.real_below else "between them uncertain"
    return f"ai {bounds[0]}: {ai}; real {bounds[1]}: {real}; {band}".replace(" :", ":")


def _never_given(rate: float | None, others: str) -> str:
    """Why there is no threshold: a split-conformal quantile at `rate` needs 1 / rate - 1 images."""
    if rate is None:
        return "never given"
    least = math.ceil(1 / rate - 1e-9) - 1
    return f"never given, too few held-out {others} images ({100 * rate:g} % needs {least:,} of a source)"


def promise_warnings(calibration: Calibration) -> list[str]:
    """What the images of a calibration are too few, or of too few sources, to promise: a sentence each.

    n images of a class promise no rate below 1 / (n + 1): the bound of `fitting.thresholds` with no wrong verdict.
    """
    c, warnings = calibration, []
    for label, word, n, threshold, rate, what, option in (
        ("real", "real", c.n_real, c.ai_from, c.false_alarm, "false alarms", "--false-alarm"),
        ("ai", "AI", c.n_ai, c.real_below, c.miss, "misses", "--miss"),
    ):
        if threshold is None and rate is not None:
            least = math.ceil(1000 / (n + 1) - 1e-9) / 1000
            warnings.append(
                f"the calibration's {n} {word} images promise no rate of {what} below {least:.1%}, and {rate:.1%} was "
                f"asked for: use {option} {least:g} or larger, or more images"
            )
        names = [one.source for one in c.sources if one.label == label]
        if len(names) == 1:
            warnings.append(f"all {word} images of the calibration are of {names[0]}: no rate is promised for others")
    return warnings


def verdict_table(counts: tuple[VerdictCounts, ...]) -> Table:
    """One row for each class and source: shares of the verdicts, the wrong ones with their 95 % interval (exact)."""
    rows: list[tuple[Cell, ...]] = []
    for c in counts:
        interval = binomtest(c.wrong, c.images).proportion_ci(CONFIDENCE, method="exact")
        rows.append((c.label, c.source, c.images, c.ai / c.images, c.uncertain / c.images, c.real / c.images,
                     f"{c.wrong} [{interval.low:.3f}, {interval.high:.3f}]"))
    columns = ("class", "source", "images", "called ai", "uncertain", "called real", "wrong [95 % interval]")
    return Table("verdicts", "Verdicts by class and source", columns, tuple(rows))


def rates_table(calibration: Calibration) -> Table:
    """The rates that the calibration reached on its own scores, source by source."""
    rows = tuple((r.label, r.source, r.images, r.ai, r.uncertain, r.real) for r in calibration.sources)
    columns = ("class", "source", "images", "called ai", "uncertain", "called real")
    return Table("rates", "Verdicts on the images of the calibration", columns, rows)


def promise_kept(counts: tuple[VerdictCounts, ...], calibration: Calibration) -> str:
    """Whether the rates held on these images, in one line: over each class, and in its worst source."""
    lines = []
    for label, rate, verdict in (("real", calibration.false_alarm, "ai"), ("ai", calibration.miss, "real")):
        own = [c for c in counts if c.label == label]
        if not own or rate is None:
            continue
        if (calibration.ai_from if verdict == "ai" else calibration.real_below) is None:
            lines.append(f"{verdict} is never given, so nothing was promised")
            continue
        *each, whole = own
        worst = max(each, key=lambda c: c.wrong / c.images)
        held = "held" if whole.wrong <= rate * whole.images else "NOT HELD"
        lines.append(
            f"{verdict}, promised to at most {rate:.1%} of {label if label == 'real' else 'AI'} images: {held}, "
            f"{whole.wrong} of {whole.images:,} ({whole.wrong / whole.images:.1%}); "
            f"worst source {worst.source}, {worst.wrong} of {worst.images:,}"
        )
    return "\n".join(lines)
