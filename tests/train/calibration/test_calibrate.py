"""Calibration: rates of the thresholds' rule, a probability that claims what was measured, verdicts withheld."""

from __future__ import annotations

import numpy as np
import pytest
from cinemae.runtime.core.calibration import QUANTILES
from cinemae.runtime.core.errors import UsageError
from cinemae.train.calibration.calibrate import calibrate
from cinemae.train.calibration.rates import Rates
from cinemae.train.calibration.scores import Scores
from scipy.special import expit

N = 4000


@pytest.fixture(scope="module")
def drawn():
    """Labels drawn with P(AI) = sigmoid(2 z - 1)."""
    rng = np.random.default_rng(0)
    logits = rng.normal(0.5, 1.5, N)
    return (rng.random(N) < expit(2 * logits - 1)).astype(np.int64), logits


def calibrated(labels, logits, **rates):
    """The calibration on images of one source a class."""
    scores = Scores(np.asarray(logits, np.float32), np.asarray(labels), np.full(len(labels), "somewhere"))
    return calibrate(scores, "drawn", Rates(**rates))


def test_the_rates_are_those_of_the_stored_thresholds(drawn):
    found = calibrated(*drawn, false_alarm=0.02, miss=0.1)
    assert found.fitted_on == "drawn"
    (real, ai) = found.sources
    assert (real.label, ai.label) == ("real", "ai")
    assert real.images + ai.images == found.n_real + found.n_ai == N
    assert real.ai <= 0.02 < real.ai + 2 / real.images
    assert ai.real <= 0.1 < ai.real + 2 / ai.images
    assert (found.false_alarm, found.miss) == (0.02, 0.1)
    assert found.false_alarm_gamma == found.miss_gamma == 0.5  # one source a class
    assert len(real.quantiles) == len(QUANTILES)


def test_classes_far_apart_have_next_to_no_band_and_smaller_rates():
    labels = np.repeat([0, 1], 500)
    logits = np.concatenate([np.linspace(-3, -1, 500), np.linspace(1, 3, 500)])
    found = calibrated(labels, logits)
    assert -1 < found.real_below <= found.ai_from < 1
    assert found.false_alarm == found.miss == pytest.approx(1 / 501)


def test_too_few_images_promise_nothing():
    found = calibrated([0] * 10 + [1] * 10, [*range(10), *range(5, 15)])
    assert (found.ai_from, found.real_below, found.withheld) == (None, None, ())
    assert [one.counted for one in found.sources] == [False, False]


def test_probability_claims_no_more_than_the_interval_supports(drawn):
    found = calibrated(*drawn)
    for logit in (-3.0, 0.0, 1.0, 3.0):
        value, low, high, *_ = found.likelihood.at(logit)
        nearest = min(max(1.0, low), high)
        assert abs(np.log(nearest)) <= abs(np.log(value))
        for prior in (0.5, 0.01):
            odds = nearest * prior / (1 - prior)
            assert found.probability(logit, prior) == pytest.approx(odds / (1 + odds))


def test_a_verdict_whose_scores_are_no_evidence_is_withheld():
    """The sources of a class differ more than the classes do: no logit tells them apart."""
    rng = np.random.default_rng(0)
    middles = rng.normal(0, 2, 6)
    each = [rng.normal(middle + shift, 1, 100) for shift in (0, 0.1) for middle in middles]
    scores = Scores(np.float32(each).ravel(), np.repeat([0, 1], 600), np.repeat([f"s{i}" for i in range(12)], 100))
    found = calibrate(scores, "", Rates(false_alarm=0.3, miss=0.3))
    assert set(found.withheld) == {"ai", "real"}
    assert (found.ai_from, found.real_below) == (None, None)
    assert found.probability(9.0) == 0.5


def test_every_logit_beyond_a_threshold_is_evidence_for_its_verdict(drawn):
    found = calibrated(*drawn, false_alarm=0.6, miss=0.6)
    assert found.likelihood.at(found.ai_from + 1e-4)[1] >= 1
    assert found.likelihood.at(found.real_below - 1e-4)[2] <= 1


@pytest.mark.parametrize(
    ("labels", "logits", "rates"),
    [
        ([0, 0], [0.0, 1], {}), ([1, 1], [0.0, 1], {}),
        ([1, 1, 0, 0], [0.0, np.nan, 2, 3], {}), ([1, 1, 0, 0], [0.0, 1, -np.inf, 3], {}),
        ([0, 1], [0.0, 1], {"false_alarm": 0.0}), ([0, 1], [0.0, 1], {"miss": 1.0}),
    ],
)
def test_what_cannot_be_calibrated_is_refused(labels, logits, rates):
    with pytest.raises(UsageError):
        calibrated(labels, logits, **rates)
