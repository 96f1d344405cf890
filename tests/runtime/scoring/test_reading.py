"""The words of a reading: each verdict with its rate, and none where no rate is known."""

import pytest
from cinemae.runtime.core.calibration import Calibration
from cinemae.runtime.core.errors import UsageError
from cinemae.runtime.scoring.reading import CAVEAT, OWN_THRESHOLD, Reading, is_contrary
from cinemae.runtime.scoring.verdict import Decision

BOTH = Calibration(a=2.0, b=1.0, ai_from=1.0, real_below=-1.0, false_alarm=0.05, miss=0.07)


def reading(calibration=BOTH, threshold=None, prior=0.5):
    return Reading.of(calibration, Decision.of(calibration, threshold), prior)


def test_the_legend_names_both_rates():
    first, second = reading().legend()
    assert first == (
        "ai: at most 5 % of real images get this; real: at most 7 % of AI images get this; "
        "uncertain: the score supports neither"
    )
    assert second == f"{CAVEAT} P(AI): assuming that 50 % of the images are AI-generated."


def test_thresholds_are_stated_at_the_prior():
    found = reading(prior=0.01)
    assert found.ai_from == BOTH.probability(1.0, 0.01) < BOTH.probability(1.0)
    assert "1 % of the images" in found.words()["prior"]
    with pytest.raises(UsageError, match="prior"):
        reading(prior=1.0)


def test_a_threshold_of_ones_own_has_no_rate():
    found = reading(threshold=0.9)
    assert found.legend()[0] == f"ai and real: {OWN_THRESHOLD}"
    assert (found.words()["real"], found.words()["caveat"]) == (OWN_THRESHOLD, "")


def test_nothing_is_promised_where_nothing_was_measured():
    old = Calibration(ai_from=1.0, real_below=-1.0, false_alarm=0.05)
    assert reading(old).words()["real"] == "no rate is known, any share of AI images may get this"
    few = Calibration(ai_from=None, real_below=-1.0, false_alarm=0.01, miss=0.05)
    assert reading(few).words()["ai"] == "never given, too few real images were measured"
    assert reading(few).ai_from is None


def test_a_verdict_against_its_probability():
    assert is_contrary("real", 0.51)
    assert is_contrary("ai", 0.49)
    for verdict, probability in (("real", 0.5), ("ai", 0.5), ("uncertain", 0.9), (None, None), ("real", None)):
        assert not is_contrary(verdict, probability)
