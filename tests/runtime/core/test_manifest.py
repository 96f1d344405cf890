"""The calibration in a manifest: older engines, with one threshold and a band, still load."""

import math

import pytest
from cinemae.runtime.core.calibration import Calibration
from cinemae.runtime.engines.load import read_engine_manifest
from cinemae.runtime.scoring.verdict import Decision
from pydantic import ValidationError

OLD = {"a": 1.0, "b": 1.0, "threshold": 2.0, "uncertain_low": -3.0, "uncertain_high": 2.5, "target_fpr": 0.05}


def test_a_band_becomes_two_thresholds_and_both_ends_stay_uncertain():
    found = Calibration.model_validate(OLD)
    assert (found.false_alarm, found.miss) == (0.05, None)
    verdicts = [Decision.of(found).verdict(logit) for logit in (-3.1, -3.0, 2.5, math.nextafter(2.5, 3))]
    assert verdicts == ["real", "uncertain", "uncertain", "ai"]
    assert Calibration.model_validate_json(found.model_dump_json()) == found


def test_a_cut_stays_one():
    found = Calibration.model_validate({"threshold": -0.3, "uncertain_low": -0.3, "uncertain_high": -0.3})
    assert (found.ai_from, found.real_below, found.false_alarm) == (-0.3, -0.3, None)


def test_old_engines_call_nothing_real_that_is_more_likely_ai():
    found = Calibration.model_validate({**OLD, "uncertain_low": 1.9})
    assert found.real_below == -1.0
    assert found.probability(found.real_below) == 0.5


@pytest.mark.parametrize(
    "change",
    [
        {"threshold": 3.0}, {"threshold": "x"}, {"threshold": None}, {"uncertain_low": []}, {"a": None}, {"a": 0},
        {"b": "1"}, {"threshold": float("nan")}, {"target_fpr": "x"}, {"a": 1e-320},
    ],
)
def test_a_damaged_band_is_one_clear_error(change):
    with pytest.raises(ValidationError):
        Calibration.model_validate({**OLD, **change})


def test_the_bundled_engine_promises_nothing_for_real():
    found = read_engine_manifest(None).calibration
    assert (found.real_below is None) or found.probability(found.real_below) <= 0.5
    assert found.ai_from is None or found.probability(found.ai_from) >= 0.5
