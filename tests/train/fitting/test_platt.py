"""Calibration: Platt's slope and offset, the threshold's false-positive rate, the band's share."""

from __future__ import annotations

import numpy as np
import pytest
from cinemae.runtime.errors import UsageError
from cinemae.train.fitting.platt import calibrate_probability
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


def test_platt_finds_the_slope_and_offset_that_made_the_labels(drawn):
    found = calibrate_probability(*drawn, "drawn")
    assert found.a == pytest.approx(2, abs=SLOPE_TOLERANCE)
    assert found.b == pytest.approx(-1, abs=SLOPE_TOLERANCE)
    assert found.fitted_on == "drawn"


@pytest.mark.parametrize("target", [0.01, 0.05, 0.2])
def test_the_threshold_is_the_lowest_with_the_target_rate(drawn, target):
    labels, logits = drawn
    found = calibrate_probability(labels, logits, "drawn", target_fpr=target)
    real = np.sort(logits[labels == 0])
    assert (real > found.threshold).mean() <= target
    below = real[real < found.threshold][-1]
    assert (real > below).mean() > target, "a lower one would flag too many"
    assert found.target_fpr == target


@pytest.mark.parametrize("share", [0.0, 0.1, 0.3])
def test_the_band_holds_its_share(drawn, share):
    labels, logits = drawn
    found = calibrate_probability(labels, logits, "drawn", uncertain_share=share)
    inside = (logits >= found.uncertain_low) & (logits <= found.uncertain_high)
    assert inside.mean() == pytest.approx(share, abs=2 / N)
    assert found.threshold - found.uncertain_low == pytest.approx(found.uncertain_high - found.threshold)


def test_probability_refers_to_equal_priors(drawn):
    labels, logits = drawn
    rng = np.random.default_rng(1)
    few = (labels == 0) | (rng.random(N) < 0.2)
    thinned, whole = (calibrate_probability(labels[chosen], logits[chosen], "x") for chosen in (few, labels >= 0))
    assert thinned.b == pytest.approx(whole.b, abs=0.3)
    assert labels[few].mean() < labels.mean() - 0.2


def test_separable_data_keep_a_finite_slope():
    found = calibrate_probability(np.array([0, 0, 1, 1]), np.array([-2.0, -1, 1, 2]), "four")
    assert 0 < found.a < 100


@pytest.mark.parametrize(
    ("labels", "logits", "options", "words"),
    [
        ([0, 0], [0.0, 1], {}, "both classes"),
        ([1, 1], [0.0, 1], {}, "both classes"),
        ([1, 1, 0, 0], [0.0, 1, 2, 3], {}, "ranks real above AI"),
        ([0, 1], [0.0, 1], {"target_fpr": 0.0}, "false-positive"),
        ([0, 1], [0.0, 1], {"uncertain_share": 1.0}, "uncertain share"),
    ],
)
def test_what_cannot_be_calibrated_is_refused(labels, logits, options, words):
    with pytest.raises(UsageError, match=words):
        calibrate_probability(np.array(labels), np.array(logits), "x", **options)
