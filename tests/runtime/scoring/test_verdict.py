"""Verdicts follow the thresholds; records state thresholds, rates and reasons; the prior shifts probabilities alone."""

import math
from importlib.metadata import version

import pytest
from cinemae.runtime import Detector, Stats
from cinemae.runtime.core.calibration import Calibration
from cinemae.runtime.core.manifest import StatRange
from cinemae.runtime.scoring.options import ScoringOptions
from cinemae.runtime.scoring.reasons import stat_reasons
from cinemae.runtime.scoring.verdict import Decision, decide
from pictures import picture
from steady_engine import SteadyEngine

BAND = Decision(ai_from=math.nextafter(1.0, 2.0), real_below=0.0)
CUT = Decision(ai_from=0.5, real_below=0.5)
NEVER_AI = Decision(ai_from=math.inf, real_below=0.0)
NEVER = Decision(ai_from=math.inf, real_below=-math.inf)


def codes(reasons):
    return " ".join(reason.code for reason in reasons)


def made(manifest, calibration, logit=0.0, **options):
    """A detector whose engine always gives `logit`."""
    manifest = manifest.model_copy(update={"calibration": calibration})
    return Detector(SteadyEngine(manifest, logit), manifest, ScoringOptions(**options))


@pytest.mark.parametrize(
    ("logit", "decision", "unusual", "expected"),
    [
        (-0.1, BAND, False, "real"), (0.0, BAND, False, "uncertain"), (1.0, BAND, False, "uncertain"),
        (1.1, BAND, False, "ai"), (-0.1, BAND, True, "uncertain"), (1.9, BAND, True, "uncertain"),
        (2.1, BAND, True, "ai"), (-1.1, BAND, True, "real"),
        (0.49, CUT, False, "real"), (0.5, CUT, False, "ai"), (0.49, CUT, True, "real"), (0.5, CUT, True, "ai"),
        (9e9, NEVER_AI, False, "uncertain"), (-0.1, NEVER_AI, False, "real"), (-9e9, NEVER_AI, True, "uncertain"),
        (9e9, NEVER, False, "uncertain"), (-9e9, NEVER, True, "uncertain"),
    ],
)
def test_verdict_follows_the_band(logit, decision, unusual, expected):
    assert decide(logit, decision, unusual) == expected


def test_threshold_replaces_the_band():
    calibration = Calibration(a=2.0, b=1.0, ai_from=1.0, real_below=0.0, false_alarm=0.01, miss=0.02)
    assert Decision.of(calibration) == Decision(1.0, 0.0, 0.01, 0.02)
    cut = Decision.of(calibration, 0.8)
    assert cut.real_below == cut.ai_from
    assert (cut.false_alarm, cut.miss, cut.uncalibrated) == (None, None, False)
    assert calibration.probability(cut.ai_from) == pytest.approx(0.8)
    never = Decision.of(Calibration(ai_from=None, real_below=None))
    assert (never.ai_from, never.real_below) == (math.inf, -math.inf)


def test_reasons_of_statistics(tiny_manifest):
    ranges = {"s1": StatRange(low=1, high=2), "s2": StatRange(low=1, high=2), "s3": StatRange(low=0, high=1)}
    manifest = tiny_manifest.model_copy(update={"stat_ranges": ranges})
    for stats, expected in {
        (1.5, 1.5, 0.5): "", (1.5, 0.5, 0.5): "s2-", (1.5, 2.5, 1.5): "s2+ s3+", (0.5, 1.5, 0.5): "s1",
    }.items():
        assert codes(stat_reasons(Stats(*stats), manifest)) == expected
    assert stat_reasons(Stats(0.5, 9, 9), tiny_manifest) == []


def test_unusual_input_near_the_band_is_uncertain_and_says_so(tiny_manifest):
    calibration = Calibration(ai_from=1.0, real_below=0.0, false_alarm=0.05, miss=0.05)
    detector = made(tiny_manifest, calibration, logit=1.5)
    assert detector.detect(picture()).verdict == "ai"
    gray = detector.detect(picture().convert("L"))
    assert (gray.verdict, codes(gray.reasons)) == ("uncertain", "grey near")
    inside = made(tiny_manifest, calibration, logit=0.7).detect(picture())
    assert (inside.verdict, codes(inside.reasons)) == ("uncertain", "band")


def test_records_say_how_to_read_them(tiny_manifest):
    calibration = Calibration(a=2.0, b=1.0, ai_from=1.0, real_below=-1.0, false_alarm=0.01, miss=0.02)
    run = made(tiny_manifest, calibration).detect(picture()).run
    assert (run.real_below, run.ai_from) == (calibration.probability(-1.0), calibration.probability(1.0))
    assert (run.false_alarm, run.miss, run.prior, run.threshold) == (0.01, 0.02, 0.5, None)
    assert run.cinemae == version("cinemae")
    own = made(tiny_manifest, calibration, threshold=0.9).detect(b"")
    assert (own.run.real_below, own.run.ai_from) == (pytest.approx(0.9), pytest.approx(0.9))
    assert (own.status, own.run.threshold, own.run.false_alarm, own.run.miss) == ("error", 0.9, None, None)
    silent = made(tiny_manifest, Calibration(ai_from=None, real_below=None, miss=0.02)).detect(picture())
    assert (silent.verdict, codes(silent.reasons)) == ("uncertain", "norate")
    assert (silent.run.ai_from, silent.run.real_below, silent.run.miss) == (None, None, None)


@pytest.mark.parametrize(
    ("calibration", "verdict"),
    [
        (Calibration(), "ai"), (Calibration(ai_from=1.0, real_below=-1.0), "uncertain"),
        (Calibration(ai_from=None, real_below=None, false_alarm=0.05, miss=0.05), "uncertain"),
    ],
)
def test_an_engine_without_calibrated_thresholds_says_so(tiny_manifest, calibration, verdict):
    detector = made(tiny_manifest, calibration, logit=0.5)
    record = detector.detect(picture())
    assert (record.verdict, codes(record.reasons)) == (verdict, "norate")
    assert (record.run.false_alarm, record.run.miss) == (None, None)
    assert made(tiny_manifest, calibration, logit=0.5, threshold=0.9).detect(picture()).reasons == ()
    assert detector.detect(b"").reasons == ()


@pytest.mark.parametrize("threshold", [None, 0.7])
@pytest.mark.parametrize("logit", [-2.0, -1.0, 0.5, 1.0])
def test_prior_shifts_the_probability_and_never_the_verdict(tiny_manifest, logit, threshold):
    calibration = Calibration(a=2.0, b=1.0, ai_from=1.0, real_below=-1.0)
    even, rare = (
        made(tiny_manifest, calibration, logit, threshold=threshold, prior=prior).detect(picture())
        for prior in (0.5, 0.01)
    )
    assert rare.verdict == even.verdict
    odds = even.probability / (1 - even.probability) * 0.01 / 0.99  # Bayes' rule
    assert rare.probability == pytest.approx(odds / (1 + odds))
    assert rare.run.prior == 0.01
    assert (rare.probability >= rare.run.ai_from) == (rare.verdict == "ai")
    assert (rare.probability < rare.run.real_below) == (rare.verdict == "real")
