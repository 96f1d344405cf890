"""Verdicts follow the thresholds; records state thresholds, rates and reasons; the prior shifts probabilities alone."""

import math
from importlib.metadata import version

import pytest
from cinemae.runtime import Detector, Stats
from cinemae.runtime.core.calibration import Calibration
from cinemae.runtime.core.errors import UsageError
from cinemae.runtime.core.manifest import StatRange
from cinemae.runtime.scoring.likelihood_ratio import percent, two_digits
from cinemae.runtime.scoring.options import ScoringOptions
from cinemae.runtime.scoring.reasons import stat_reasons
from cinemae.runtime.scoring.verdict import Decision
from pictures import picture
from records import LIKELIHOOD
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
    ("logit", "decision", "expected"),
    [
        (-0.1, BAND, "real"), (0.0, BAND, "uncertain"), (1.0, BAND, "uncertain"), (1.1, BAND, "ai"),
        (0.49, CUT, "real"), (0.5, CUT, "ai"), (9e9, NEVER_AI, "uncertain"), (-0.1, NEVER_AI, "real"),
        (9e9, NEVER, "uncertain"), (-9e9, NEVER, "uncertain"),
    ],
)
def test_verdict_follows_the_band(logit, decision, expected):
    assert decision.verdict(logit) == expected


def test_threshold_replaces_the_band():
    calibration = Calibration(ai_from=1.0, real_below=0.0, false_alarm=0.01, miss=0.02)
    assert Decision.of(calibration) == Decision(1.0, 0.0, 0.01, 0.02)
    cut = Decision.of(calibration, 0.8)
    assert cut.real_below == cut.ai_from
    assert (cut.false_alarm, cut.miss, cut.uncalibrated) == (None, None, False)
    assert calibration.probability(cut.ai_from) == pytest.approx(0.8)
    measured = calibration.model_copy(update={"likelihood": LIKELIHOOD})
    assert Decision.of(measured, 0.9).ai_from == pytest.approx(1 + 3 * (math.log10(9) - 0.5) / 1.5)
    with pytest.raises(UsageError, match=r"support probabilities from 0\.01 to 0\.99; choose one between them"):
        Decision.of(measured, 0.995)
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


def test_a_reason_changes_no_verdict(tiny_manifest):
    calibration = Calibration(ai_from=1.0, real_below=0.0, false_alarm=0.05, miss=0.05)
    gray = made(tiny_manifest, calibration, logit=1.001).detect(picture().convert("L"))
    assert (gray.verdict, codes(gray.reasons)) == ("ai", "grey")
    inside = made(tiny_manifest, calibration, logit=0.7).detect(picture())
    assert (inside.verdict, codes(inside.reasons)) == ("uncertain", "band")


def test_records_say_how_to_read_them(tiny_manifest):
    calibration = Calibration(
        ai_from=1.0, real_below=-1.0, false_alarm=0.01, miss=0.02, false_alarm_gamma=0.1, miss_gamma=0.2
    )
    run = made(tiny_manifest, calibration).detect(picture()).run
    assert (run.real_below, run.ai_from, run.false_alarm_gamma, run.miss_gamma) == (-1.0, 1.0, 0.1, 0.2)
    assert (run.false_alarm, run.miss, run.prior, run.threshold) == (0.01, 0.02, 0.5, None)
    assert run.cinemae == version("cinemae")
    own = made(tiny_manifest, calibration, threshold=0.9).detect(b"")
    assert own.run.real_below == own.run.ai_from == pytest.approx(math.log(9))
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
    calibration = Calibration(ai_from=1.0, real_below=-1.0, likelihood=LIKELIHOOD)
    even, rare = (
        made(tiny_manifest, calibration, logit, threshold=threshold, prior=prior).detect(picture())
        for prior in (0.5, 0.01)
    )
    assert rare.verdict == even.verdict
    odds = even.probability / (1 - even.probability) * 0.01 / 0.99  # Bayes' rule
    assert rare.probability == pytest.approx(odds / (1 + odds))
    assert rare.run.prior == 0.01
    assert (rare.logit >= rare.run.ai_from) == (rare.verdict == "ai")
    assert (rare.logit < rare.run.real_below) == (rare.verdict == "real")


def test_a_record_states_its_likelihood_ratio_and_no_more_probability_than_it_supports(tiny_manifest):
    calibration = Calibration(ai_from=1.0, real_below=-1.0, likelihood=LIKELIHOOD)
    record = made(tiny_manifest, calibration, 2.0).detect(picture())
    ratio = record.likelihood_ratio
    assert (ratio.value, ratio.real_share, ratio.ai_share) == pytest.approx((10, 0.41 / 3, 1.25 / 3))
    assert record.probability == pytest.approx(ratio.low / (1 + ratio.low))
    assert ratio.text == (
        "likelihood ratio 10 (2.9 to 34): weak support for AI-generated; 14 % of the real and 42 % of the AI images "
        "measured score this high or higher"
    )
    near = made(tiny_manifest, calibration, 0.1).detect(picture())
    assert (near.likelihood_ratio.support, near.probability) == ("no support either way", 0.5)
    assert made(tiny_manifest, Calibration(), 0.1).detect(picture()).likelihood_ratio is None


def test_numbers_of_a_ratio_have_two_digits_and_no_exponent():
    values = [1e-5 / 3, 0.0036, 0.1, 1.0, 2.94, 99.7, 1234.0, 5e6]
    assert [two_digits(value) for value in values] == [
        "0.0000033", "0.0036", "0.1", "1", "2.9", "100", "1,200", "5,000,000",
    ]
    assert [percent(share) for share in (0, 0.0625, 0.245, 0.9, 0.9995, 1)] == [
        "0.0 %", "6.3 %", "25 %", "90 %", "100.0 %", "100.0 %",
    ]
