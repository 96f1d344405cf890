"""Likelihood ratios: the ratio that made the scores, honest intervals for sources, bounds, knots; Cllr."""

from __future__ import annotations

import math

import numpy as np
import pytest
from cinemae.train.calibration.likelihood import (
    fit_likelihood,
    log_likelihood_ratio_cost,
    supported_below,
    supported_from,
)
from scipy.stats import norm

LOG_TOLERANCE = 0.15
"""Natural logarithm; four standard errors of a slope from 20 sources of 200 images, two deviations off the middle."""


def drawn(rng, middle, sources=20, images=200, between=0.0):
    """Logits of each source: normal, deviation 1, its middle scattered between sources."""
    return [rng.normal(middle + between * rng.normal(), 1, images) for _ in range(sources)]


def test_the_ratio_is_that_of_the_densities_that_made_the_scores():
    rng = np.random.default_rng(0)
    found = fit_likelihood(drawn(rng, 0.0), drawn(rng, 1.0))
    for logit in (-1.0, 0.0, 0.5, 1.0, 2.0):
        value, low, high, real, ai = found.at(logit)
        assert math.log(value) == pytest.approx(norm.logpdf(logit, 1) - norm.logpdf(logit, 0), abs=LOG_TOLERANCE)
        assert low < value < high
        assert (real, ai) == (pytest.approx(norm.sf(logit, 0), abs=0.03), pytest.approx(norm.sf(logit, 1), abs=0.03))


def test_intervals_contain_the_truth_where_sources_differ():
    """Sources scatter: intervals from images resampled alone would hold the truth in few of the repetitions."""
    hits = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        found = fit_likelihood(drawn(rng, 0.0, 12, 60, 0.5), drawn(rng, 1.0, 12, 60, 0.5), resamples=200)
        wide = math.sqrt(1.25)
        _, low, high, *_ = found.at(1.5)
        hits += low <= math.exp(norm.logpdf(1.5, 1, wide) - norm.logpdf(1.5, 0, wide)) <= high
    assert hits >= 32  # of 40; 95 % intervals of a percentile bootstrap of 12 sources hold it about 36 times


def test_a_ratio_never_exceeds_what_the_sources_can_show():
    rng = np.random.default_rng(1)
    found = fit_likelihood(drawn(rng, -9.0, sources=4), drawn(rng, 9.0, sources=2))
    assert 4.5 < found.at(99.0)[0] <= 5
    assert 1 / 3 <= found.at(-99.0)[0] < 0.35


def test_scores_without_information_support_nothing():
    rng = np.random.default_rng(2)
    found = fit_likelihood(drawn(rng, 0.0, 8, 100, 0.3), drawn(rng, 0.05, 8, 100, 0.3))
    assert supported_from(found) is None
    assert supported_below(found) is None
    assert found.supported(0.7) == 0


def test_where_real_images_score_higher_the_ratio_is_1_and_supports_nothing():
    rng = np.random.default_rng(3)
    found = fit_likelihood(drawn(rng, 1.0), drawn(rng, 0.0))
    assert set(found.ratio) == {0.0}
    assert (supported_from(found), supported_below(found)) == (None, None)
    assert found.auc == pytest.approx(norm.cdf(-1 / math.sqrt(2)), abs=0.03)


@pytest.mark.parametrize("seed", range(40))
def test_few_images_of_sources_that_differ_have_a_ratio(seed):
    """Three sources of up to 30 images scatter more than the classes: ranks and the fitted slope may disagree."""
    rng = np.random.default_rng(seed)

    def scattered():
        return [rng.normal(rng.normal(0, 1.5), rng.uniform(0.1, 2), rng.integers(1, 30)) for _ in range(3)]

    found = fit_likelihood(scattered(), scattered(), resamples=20)
    assert found.ratio[0] <= found.ratio[-1]


@pytest.mark.parametrize("images", [1, 2])
def test_few_and_equal_logits_have_knots(images):
    found = fit_likelihood([np.zeros(images)], [np.zeros(images), np.ones(1)])
    assert len(found.logits) >= 2


def test_cllr_is_that_of_the_equation():
    """Brümmer and du Preez 2006, equation 9, by hand; sources of a class weigh alike."""
    labels, sources = np.array([0, 0, 1, 1, 1]), np.array(["a", "a", "b", "b", "c"])
    log_ratio = np.log([0.5, 2.0, 1.0, 4.0, 3.0])
    real = (math.log2(1.5) + math.log2(3)) / 2
    fake = ((math.log2(2) + math.log2(1.25)) / 2 + math.log2(4 / 3)) / 2
    assert log_likelihood_ratio_cost(log_ratio, labels, sources) == pytest.approx((real + fake) / 2)
    assert log_likelihood_ratio_cost(np.zeros(5), labels, sources) == pytest.approx(1)
