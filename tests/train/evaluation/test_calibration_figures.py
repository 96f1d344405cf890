"""Figures of a calibration, against worked cases and drawn images whose probability is known."""

from __future__ import annotations

import numpy as np
import pytest
from cinemae.runtime.core.calibration import Calibration, Likelihood
from cinemae.train.evaluation.metrics import binary_metrics, calibration_error, least_cost, probabilities

RATIO = Likelihood(
    logits=(-2.0, 0.0, 2.0), ratio=(-0.8, 0.0, 1.0), low=(-1.2, -0.2, 0.6), high=(-0.4, 0.3, 1.6),
    real_share=(0.9, 0.5, 0.1), ai_share=(0.95, 0.7, 0.4),
)
CALIBRATION = Calibration(likelihood=RATIO)
EXACT = 1e-12


def test_probabilities_are_the_manifests():
    logits = np.linspace(-3, 3, 20)
    expected = [CALIBRATION.probability(float(z)) for z in logits]
    np.testing.assert_allclose(probabilities(logits, CALIBRATION), expected, rtol=1e-12)


def test_calibration_error_of_known_cases():
    labels = np.array([0, 0, 1, 1])
    assert calibration_error(labels, labels.astype(float)) == (0, 0)
    assert calibration_error(labels, 1.0 - labels)[0] == 1
    assert calibration_error(labels, np.full(4, 0.5))[0] == 0
    assert calibration_error(labels, np.full(4, 0.9))[0] == pytest.approx(0.4)


@pytest.mark.parametrize("share", [0.5, 0.1])
def test_the_noise_of_the_calibration_error_is_its_size_where_the_probability_is_right(share):
    """Images whose odds at equal classes are exp(logit): real normal around -1/2, AI around 1/2."""
    rng, errors, noises = np.random.default_rng(0), [], []
    for _ in range(100):
        found = calibrated_images(rng, 1000, share)
        errors.append(found.ece)
        noises.append(found.ece_noise)
    assert np.mean(errors) == pytest.approx(np.mean(noises), rel=0.1)
    assert np.mean(errors) > 0.02, "an error of this size says nothing"


def calibrated_images(rng, images, share):
    labels = np.arange(images) < share * images
    return binary_metrics(labels, rng.normal(labels - 0.5, 1.0), Calibration())


def test_under_1000_images_there_is_no_calibration_error():
    few = calibrated_images(np.random.default_rng(0), 999, 0.5)
    assert np.isnan([few.ece, few.ece_noise]).all()


def test_the_cost_of_a_likelihood_ratio_and_its_least():
    """Worked by hand: of the pooled images (real, AI, AI, real, AI) the two in the middle violate the order."""
    labels, ratio = np.array([0, 1, 1, 0, 1]), np.array([-2.0, -1, 0, 1, 2])
    weight = np.where(labels == 1, 1 / 3, 1 / 2)
    middle = (weight[1] + weight[2]) / weight[1:4].sum()
    expected = (2 / 3 * -np.log2(middle) + 1 / 2 * -np.log2(1 - middle)) / 2
    assert least_cost(ratio, labels) == pytest.approx(expected, abs=EXACT)
    assert least_cost(np.zeros(5), labels) == pytest.approx(1)
    assert least_cost(np.array([0, 1, 1, 0, 1.0]), labels) == 0
    found = binary_metrics(labels, ratio, CALIBRATION)
    odds = 10 ** np.array([-0.8, -0.4, 0, 0.5, 1])
    cost = (np.log2(1 + 1 / odds)[labels == 1].mean() + np.log2(1 + odds)[labels == 0].mean()) / 2
    assert (found.cllr, found.cllr_min) == pytest.approx((cost, expected), abs=EXACT)


def test_an_overconfident_ratio_costs_more_than_its_least_and_a_calibrated_one_as_much():
    rng = np.random.default_rng(1)
    labels = np.arange(20000) % 2
    logits = rng.normal(labels - 0.5, 1.0)
    right, bold = (binary_metrics(labels, times * logits, Calibration()) for times in (1, 4))
    assert right.cllr == pytest.approx(right.cllr_min, abs=0.005)
    assert bold.cllr_min == pytest.approx(right.cllr_min, abs=EXACT)
    assert bold.cllr > bold.cllr_min + 0.3
