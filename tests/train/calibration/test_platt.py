"""Calibration: Platt's slope and offset; the rates of both verdicts are those of the thresholds' rule."""

from __future__ import annotations

import numpy as np
import pytest
from cinemae.runtime.core.errors import UsageError
from cinemae.train.calibration.platt import calibrate_probability
from cinemae.train.calibration.rates import Rates
from cinemae.train.calibration.scores import Scores
from scipy.special import expit

N = 4000
SLOPE_TOLERANCE = 0.15
"""The slope of a logistic regression on 4000 samples scatters by about 0.04 around the truth; four of that."""


@pytest.fixture(scope="module")
def drawn():
    """Labels drawn with P(AI) = sigmoid(2 z - 1)."""
    rng = np.random.default_rng(0)
    logits = rng.normal(0.5, 1.5, N)
    return (rng.random(N) < expit(2 * logits - 1)).astype(np.int64), logits


def calibrated(labels, logits, **rates):
    """The calibration on images of one source a class."""
    scores = Scores(np.asarray(logits, np.float32), np.asarray(labels), np.full(len(labels), "somewhere"))
    return calibrate_probability(scores, "drawn", Rates(**rates))


def test_slope_and_offset_are_those_that_made_the_labels_and_rates_those_of_the_stored_thresholds(drawn):
    found = calibrated(*drawn, false_alarm=0.02, miss=0.1)
    assert (found.a, found.b) == pytest.approx((2, -1), abs=SLOPE_TOLERANCE)
    assert found.fitted_on == "drawn"
    (real, ai) = found.sources
    assert (real.label, ai.label) == ("real", "ai")
    assert real.images + ai.images == found.n_real + found.n_ai == N
    assert real.ai <= 0.02 < real.ai + 2 / real.images
    assert ai.real <= 0.1 < ai.real + 2 / ai.images
    assert (found.false_alarm, found.miss) == (0.02, 0.1)


def test_classes_far_apart_have_no_band_and_smaller_rates():
    labels = np.repeat([0, 1], 500)
    logits = np.concatenate([np.linspace(-3, -1, 500), np.linspace(1, 3, 500)])
    found = calibrated(labels, logits)
    assert found.ai_from == found.real_below
    assert found.false_alarm == found.miss == pytest.approx(1 / 501)


def test_too_few_images_promise_nothing_and_separable_images_keep_a_finite_slope():
    found = calibrated([0] * 10 + [1] * 10, [*range(10), *range(5, 15)])
    assert found.ai_from is None
    assert found.real_below is None
    assert 0 < calibrated([0, 0, 1, 1], [-2.0, -1, 1, 2]).a < 100


def test_probability_refers_to_equal_priors(drawn):
    labels, logits = drawn
    rng = np.random.default_rng(1)
    few = (labels == 0) | (rng.random(N) < 0.2)
    picks = (few, labels >= 0)
    thinned, whole = (calibrated(labels[p], logits[p]) for p in picks)
    assert thinned.b == pytest.approx(whole.b, abs=0.3)
    assert labels[few].mean() < labels.mean() - 0.2


@pytest.mark.parametrize(
    ("labels", "logits", "rates"),
    [
        ([0, 0], [0.0, 1], {}), ([1, 1], [0.0, 1], {}), ([1, 1, 0, 0], [0.0, 1, 2, 3], {}),
        ([1, 1, 0, 0], [0.0, np.nan, 2, 3], {}), ([1, 1, 0, 0], [0.0, 1, -np.inf, 3], {}),
        ([0, 1], [0.0, 1], {"false_alarm": 0.0}), ([0, 1], [0.0, 1], {"miss": 1.0}),
    ],
)
def test_what_cannot_be_calibrated_is_refused(labels, logits, rates):
    with pytest.raises(UsageError):
        calibrated(labels, logits, **rates)
