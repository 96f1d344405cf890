"""Verdicts follow the thresholds; records state thresholds, rates and reasons; the prior shifts probabilities alone."""

import math
from importlib.metadata import version

import pytest
from cinemae.runtime import Detector, Stats
from cinemae.runtime.core.calibration import Calibration
from cinemae.runtime.core.errors import UsageError
from cinemae.runtime.core.manifest import StatRange
from cinemae.runtime.scoring import reasons as r
from cinemae.runtime.scoring.verdict import Decision, decide
from pictures import picture
from steady_engine import SteadyEngine

BAND = Decision(ai_from=math.nextafter(1.0, 2.0), real_below=0.0)
CUT = Decision(ai_from=0.5, real_below=0.5)
NEVER_AI = Decision(ai_from=math.inf, real_below=0.0)
NEVER = Decision(ai_from=math.inf, real_below=-math.inf)


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
    assert (cut.false_alarm, cut.miss, cut.own) == (None, None, True)
    assert calibration.probability(cut.ai_from) == pytest.approx(0.8)
    never = Decision.of(Calibration(ai_from=None, real_below=None))
    assert (never.ai_from, never.real_below) == (math.inf, -math.inf)


def test_reasons_of_statistics(tiny_manifest):
    ranges = {"s1": StatRange(low=1, high=2), "s2": StatRange(low=1, high=2), "s3": StatRange(low=0, high=1)}
    manifest = tiny_manifest.model_copy(update={"stat_ranges": ranges})
    assert r.stat_reasons(Stats(1.5, 1.5, 0.5), manifest) == []
    assert r.stat_reasons(Stats(1.5, 0.5, 0.5), manifest) == [r.LOW_S2]
    assert r.stat_reasons(Stats(1.5, 2.5, 1.5), manifest) == [r.HIGH_S2, r.HIGH_S3]
    assert r.stat_reasons(Stats(0.5, 1.5, 0.5), manifest) == [r.OUTSIDE_S1]
    assert r.stat_reasons(Stats(0.5, 9, 9), tiny_manifest) == []


def test_unusual_input_near_the_band_is_uncertain_and_says_so(tiny_manifest):
    calibration = Calibration(ai_from=1.0, real_below=0.0, false_alarm=0.05, miss=0.05)
    manifest = tiny_manifest.model_copy(update={"calibration": calibration})
    detector = Detector(SteadyEngine(manifest, logit=1.5), manifest)
    assert detector.detect(picture()).verdict == "ai"
    gray = detector.detect(picture().convert("L"))
    assert gray.verdict == "uncertain"
    assert gray.reasons == (r.GRAYSCALE, r.NEAR_BAND)
    inside = Detector(SteadyEngine(manifest, logit=0.7), manifest).detect(picture())
    assert (inside.verdict, inside.reasons) == ("uncertain", (r.BAND,))


def test_records_say_how_to_read_them(tiny_manifest):
    calibration = Calibration(a=2.0, b=1.0, ai_from=1.0, real_below=-1.0, false_alarm=0.01, miss=0.02)
    manifest = tiny_manifest.model_copy(update={"calibration": calibration})
    record = Detector(SteadyEngine(manifest), manifest).detect(picture())
    assert (record.real_below, record.ai_from) == (calibration.probability(-1.0), calibration.probability(1.0))
    assert (record.false_alarm, record.miss, record.prior) == (0.01, 0.02, 0.5)
    assert record.cinemae == version("cinemae")
    own = Detector(SteadyEngine(manifest), manifest, threshold=0.9).detect(b"")
    assert (own.real_below, own.ai_from) == (pytest.approx(0.9), pytest.approx(0.9))
    assert (own.status, own.false_alarm, own.miss) == ("error", None, None)
    silent = manifest.model_copy(update={"calibration": Calibration(ai_from=None, real_below=None, miss=0.02)})
    record = Detector(SteadyEngine(silent), silent).detect(picture())
    assert (record.verdict, record.ai_from, record.real_below, record.miss) == ("uncertain", None, None, None)
    assert record.reasons == (r.UNCALIBRATED,)


@pytest.mark.parametrize(
    ("calibration", "verdict"),
    [
        (Calibration(), "ai"), (Calibration(ai_from=1.0, real_below=-1.0), "uncertain"),
        (Calibration(ai_from=None, real_below=None, false_alarm=0.05, miss=0.05), "uncertain"),
    ],
)
def test_an_engine_without_calibrated_thresholds_says_so(tiny_manifest, calibration, verdict):
    manifest = tiny_manifest.model_copy(update={"calibration": calibration})
    record = Detector(SteadyEngine(manifest, logit=0.5), manifest).detect(picture())
    assert (record.verdict, record.reasons) == (verdict, (r.UNCALIBRATED,))
    assert (record.false_alarm, record.miss) == (None, None)
    assert Detector(SteadyEngine(manifest, logit=0.5), manifest, threshold=0.9).detect(picture()).reasons == ()
    assert Detector(SteadyEngine(manifest), manifest).detect(b"").reasons == ()


def test_prior_shifts_the_probability_and_never_the_verdict(tiny_manifest):
    calibration = Calibration(a=2.0, b=1.0, ai_from=1.0, real_below=-1.0)
    manifest = tiny_manifest.model_copy(update={"calibration": calibration})
    for logit in (-2.0, -1.0, 0.5, 1.0):
        for threshold in (None, 0.7):
            even, rare = (
                Detector(SteadyEngine(manifest, logit), manifest, threshold, prior=prior).detect(picture())
                for prior in (0.5, 0.01)
            )
            assert rare.verdict == even.verdict
            odds = even.probability / (1 - even.probability) * 0.01 / 0.99  # Bayes' rule
            assert rare.probability == pytest.approx(odds / (1 + odds))
            assert rare.prior == 0.01
            assert (rare.probability >= rare.ai_from) == (rare.verdict == "ai")
            assert (rare.probability < rare.real_below) == (rare.verdict == "real")
    for prior in (0, 1, -1, float("nan")):
        with pytest.raises(UsageError, match="prior"):
            Detector(SteadyEngine(manifest), manifest, prior=prior)
