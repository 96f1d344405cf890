"""Shares of each verdict by class and source, and whether the promised rates held."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from ...runtime.core.calibration import Calibration
from ...runtime.scoring.verdict import Decision
from ..calibration.calibrate import calibrate
from ..calibration.rates import Rates
from ..calibration.scores import Scores
from ..data.transforms import tier_of, untiered
from ..reporting.tables import Cell, Table
from .intervals import share_interval

WHOLE = "all"
COLUMNS = ("class", "source", "images", "called ai", "uncertain", "called real")
"""Columns of the tables of verdicts; the last three are shares."""


@dataclass(frozen=True)
class VerdictCounts:
    """Verdicts on one source's images of one class.

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


def count_verdicts(scores: Scores, calibration: Calibration) -> tuple[VerdictCounts, ...]:
    """Count the verdicts, class by class: each generator, each tier of delivery apart, then the class as found."""
    decision = Decision.of(calibration)
    counts = []
    if scores.splits is not None:  # a tier is part of the split's name
        pairs = zip(scores.sources.tolist(), scores.splits.tolist(), strict=True)
        scores = replace(scores, sources=np.array([f"{source}{tier_of(split)}" for source, split in pairs]))
    for number, label in ((0, "real"), (1, "ai")):
        each = scores.by_source(number)
        found = [logits for name, logits in each.items() if not tier_of(name)]
        whole = [(WHOLE, np.concatenate(found))] if found else []
        for source, logits in (*each.items(), *whole):
            said = Counter(decision.verdict(float(logit)) for logit in logits)
            counts.append(VerdictCounts(source, label, said["ai"], said["uncertain"], said["real"]))
    return tuple(counts)


def _promises(c: Calibration) -> tuple[tuple[str, str, str, float | None, float | None, float], ...]:
    """Of both verdicts: the verdict, the class it is wrong for and its name, threshold, rate of wrong ones, gamma."""
    return (
        ("ai", "real", "real", c.ai_from, c.false_alarm, c.false_alarm_gamma),
        ("real", "ai", "AI", c.real_below, c.miss, c.miss_gamma),
    )


def promise_text(calibration: Calibration) -> str:
    """The promise of an engine's verdicts, in one line."""
    c, said = calibration, []
    for verdict, _, others, threshold, rate, gamma in _promises(c):
        if verdict in c.withheld:
            said.append(f"{verdict}: withheld, the likelihood ratio beyond its threshold is not shown to differ from 1")
        elif threshold is None:
            said.append(f"{verdict}: {_never_given(rate, others)}")
        else:
            promised = "no rate known" if rate is None else f"at most {rate:.1%} of a source's {others} images get it"
            exceed = "" if rate is None else f", {gamma:.0%} of new sources may exceed that"
            side = "from" if verdict == "ai" else "below"
            said.append(f"{verdict} {side} logit {threshold:.4f}: {promised}{exceed}")
    band = "nothing is uncertain" if None is not c.ai_from == c.real_below else "between them uncertain"
    return "; ".join((*said, band))


def _never_given(rate: float | None, others: str) -> str:
    """Why there is no threshold: a split-conformal quantile at `rate` needs 1 / rate - 1 images."""
    if rate is None:
        return "never given"
    least = math.ceil(1 / rate - 1e-9) - 1
    return f"never given, too few held-out {others} images ({100 * rate:g} % needs {least:,} of a source)"


def reachable_rates(calibration: Calibration, scores: Scores) -> dict[str, float]:
    """By option of `Rates`, the rates at which verdicts are given that are not for want of images.

    n images of a class promise no rate below 1 / (n + 1): the bound of `calibration.thresholds` with no wrong verdict.
    A verdict that would be withheld at that rate is left out.

    Args:
        calibration: of `scores`.
        scores: what it was fitted on.
    """
    counts = {"ai": ("false_alarm", calibration.n_real), "real": ("miss", calibration.n_ai)}
    least = {
        counts[verdict][0]: math.ceil(1000 / (counts[verdict][1] + 1) - 1e-9) / 1000
        for verdict, _, _, threshold, rate, _ in _promises(calibration)
        if threshold is None and rate is not None and verdict not in calibration.withheld
    }
    if not least:
        return {}
    found = calibrate(scores, "", Rates(**least))
    given = {"false_alarm": found.ai_from, "miss": found.real_below}
    return {name: rate for name, rate in least.items() if given[name] is not None}


def options_of(rates: Mapping[str, float]) -> str:
    """Rates as they are typed: --false-alarm 0.1 --miss 0.2."""
    return " ".join(f"--{name.replace('_', '-')} {rate:g}" for name, rate in rates.items())


def promise_warnings(calibration: Calibration, scores: Scores) -> list[str]:
    """Why a calibration promises too little, a sentence each: too few images, one source alone, or no evidence.

    Args:
        calibration: of `scores`.
        scores: what it was fitted on.
    """
    c, warnings = calibration, []
    if c.likelihood is not None and len(c.withheld) == 2:
        return [
            "neither verdict is ever given: scores are not shown to be evidence (AUC "
            f"{c.likelihood.auc:.2f} on {c.fitted_on}); more sources of both classes, or stronger features, are the "
            "remedy"
        ]
    reachable = reachable_rates(c, scores)
    for verdict, label, word, threshold, rate, gamma in _promises(c):
        too_few = threshold is None and rate is not None and verdict not in c.withheld
        if verdict in c.withheld:
            warnings.append(
                f"{verdict} is never given: on sources that the head had not seen, scores beyond its threshold are not "
                "shown to be evidence for it; more sources of both classes, or stronger features, are the remedy"
            )
        elif too_few:
            n, errors, name = (
                (c.n_real, "false alarms", "false_alarm") if verdict == "ai" else (c.n_ai, "misses", "miss")
            )
            remedy = (
                f"choose {options_of({name: reachable[name]})} or larger, or fit with more {word} images"
                if name in reachable else
                f"and for no rate that they can promise is a score shown to be evidence; fit with more {word} images"
            )
            warnings.append(f"{n} {word} images are too few to promise at most {rate:.1%} of {errors}; {remedy}")
        names = {untiered(rates.source) for rates in c.sources if rates.label == label}
        if len(names) == 1:
            warnings.append(
                f"all {word} images of the calibration are of {min(names)}: no rate is promised for others, gamma is "
                f"{gamma:g} whatever is asked for, and the interval of the likelihood ratio knows no difference "
                "between sources"
            )
        small = [rates.source for rates in c.sources if rates.label == label and not rates.counted]
        if small and not too_few:
            warnings.append(f"too few {word} images to promise a rate for them: {', '.join(small)}")
    return warnings


def verdict_table(counts: tuple[VerdictCounts, ...]) -> Table:
    """One row for each class and source: shares of the verdicts, the wrong ones with their 95 % interval (exact)."""
    rows: list[tuple[Cell, ...]] = []
    for c in counts:
        interval = share_interval(c.wrong, c.images)
        shares = (part / c.images for part in (c.ai, c.uncertain, c.real))
        rows.append((c.label, c.source, c.images, *shares, f"{c.wrong} [{interval.low:.3f}, {interval.high:.3f}]"))
    return Table("verdicts", "Verdicts by class and source", (*COLUMNS, "wrong [95 % interval]"), tuple(rows))


def rates_table(calibration: Calibration) -> Table:
    """The rates that the calibration reached on its own scores, source by source."""
    rows = tuple((r.label, r.source, r.images, r.ai, r.uncertain, r.real) for r in calibration.sources)
    return Table("rates", "Verdicts on the images of the calibration", COLUMNS, rows)


STATES = ("held", "not shown", "broken")


def state(wrong: int, images: int, rate: float) -> str:
    """Whether a rate held in a source, from the exact 95 % interval of its wrong verdicts (Clopper and Pearson 1934).

    Returns:
        "held": the interval lies within the rate; "broken": it lies above; "not shown": it contains the rate.
    """
    interval = share_interval(wrong, images)
    return "held" if interval.high <= rate else "broken" if interval.low > rate else "not shown"


def promise_kept(counts: tuple[VerdictCounts, ...], calibration: Calibration) -> str:
    """In how many sources the rates held on these images, a line for each verdict."""
    lines = []
    for verdict, label, word, threshold, rate, gamma in _promises(calibration):
        own = _each_source(counts, label)
        if not own or rate is None:
            continue
        if threshold is None:
            lines.append(f"{verdict} is never given, so nothing was promised")
            continue
        worst: dict[str, str] = {}  # the state of each source, of its tiers the worst
        for one in own:
            found = (worst.get(untiered(one.source), STATES[0]), state(one.wrong, one.images, rate))
            worst[untiered(one.source)] = max(found, key=STATES.index)
        shown = ", ".join(f"{name} in {list(worst.values()).count(name)}" for name in STATES)
        broken = _broken(own, rate)
        lines.append(
            f"{verdict}, promised to at most {rate:.1%} of a source's {word} images ({gamma:.0%} of new sources may "
            f"exceed that): of {len(worst)} sources {shown}{f' ({broken})' if broken else ''}"
        )
    return "\n".join(lines)


def broken_promises(counts: Iterable[VerdictCounts], calibration: Calibration) -> list[str]:
    """A sentence for each verdict whose rate these images exceed beyond chance."""
    found, counted = [], list(counts)
    for verdict, label, word, threshold, rate, _ in _promises(calibration):
        if threshold is None or rate is None:
            continue
        if broken := _broken(_each_source(counted, label), rate):
            found.append(f"{verdict} was promised to at most {rate:.1%} of a source's {word} images, and the "
                         f"evaluation found more: {broken}; more sources to train on are the remedy")
    return found


def _each_source(counts: Iterable[VerdictCounts], label: str) -> list[VerdictCounts]:
    return [one for one in counts if one.label == label][:-1]  # the class as a whole comes last


def _broken(own: Iterable[VerdictCounts], rate: float) -> str:
    """The sources in which the rate is broken, with their wrong verdicts; "" where it is in none."""
    broken = (one for one in own if state(one.wrong, one.images, rate) == STATES[-1])
    return ", ".join(f"{one.source} {one.wrong} of {one.images:,}" for one in broken)
