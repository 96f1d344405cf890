"""The calibration in a manifest."""

import pytest
from cinemae.runtime.core.calibration import Calibration
from cinemae.runtime.engines.load import read_engine_manifest
from pydantic import ValidationError


@pytest.mark.parametrize(
    "fields",
    [
        {"ai_from": 0.0, "real_below": 0.1}, {"a": 1.0}, {"ai_from": float("nan")}, {"ai_from": "x"},
        {"false_alarm": 1.0}, {"miss_gamma": 0.0}, {"withheld": ["uncertain"]}, {"threshold": 0.5},
    ],
)
def test_a_damaged_calibration_is_refused(fields):
    with pytest.raises(ValidationError):
        Calibration.model_validate(fields)


def test_the_bundled_engine_calls_nothing_by_the_less_likely_class():
    found = read_engine_manifest(None).calibration
    assert found.probability(found.real_below) <= 0.5 <= found.probability(found.ai_from)
