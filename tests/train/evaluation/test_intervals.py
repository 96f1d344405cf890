"""Intervals against independent references, and how often they hold the truth."""

from __future__ import annotations

import math

import numpy as np
import pytest
from cinemae.train.evaluation.intervals import auc_and_variance, auc_interval, mean_interval, share_interval
from scipy.stats import binomtest, norm
from sklearn.metrics import roc_auc_score


@pytest.mark.parametrize(("hits", "count"), [(0, 9), (9, 9), (1, 1), (3, 40), (805, 1438)])
def test_the_interval_of_a_share_is_scipys_exact_interval(hits, count):
    found, exact = share_interval(hits, count), binomtest(hits, count).proportion_ci(0.95, method="exact")
    assert (found.low, found.high) == pytest.approx((exact.low, exact.high), abs=1e-12)


def pairwise_delong(real, fake):
    """DeLong, DeLong and Clarke-Pearson 1988, equations 2 to 5, pair by pair."""
    kernel = (fake[:, None] > real[None, :]) + 0.5 * (fake[:, None] == real[None, :])
    by_fake, by_real = kernel.mean(axis=1), kernel.mean(axis=0)
    auc, m, n = kernel.mean(), len(real), len(fake)
    s10 = ((by_fake - auc) ** 2).sum() / (n - 1)
    s01 = ((by_real - auc) ** 2).sum() / (m - 1)
    return auc, s10 / n + s01 / m


@pytest.mark.parametrize("digits", [8, 0])
def test_auc_and_variance_are_those_of_every_pair(digits):
    rng = np.random.default_rng(1)
    real, fake = rng.normal(size=37).round(digits), rng.normal(1, 2, size=21).round(digits)  # ties, with 0 digits
    found = auc_and_variance(real, fake)
    assert found == pytest.approx(pairwise_delong(real, fake), abs=1e-12)
    assert found[0] == pytest.approx(roc_auc_score(np.repeat([0, 1], [37, 21]), np.r_[real, fake]), abs=1e-12)


def test_the_interval_of_an_auc_lies_around_it_on_the_scale_of_log_odds():
    rng = np.random.default_rng(2)
    real, fake = rng.normal(size=80), rng.normal(2.5, size=60)
    auc, variance = pairwise_delong(real, fake)
    low, high = (math.log(x / (1 - x)) for x in vars(auc_interval(real, fake)).values())
    assert (low + high) / 2 == pytest.approx(math.log(auc / (1 - auc)))
    assert high - low == pytest.approx(2 * 1.959964 * math.sqrt(variance) / (auc * (1 - auc)), rel=1e-6)


def test_the_interval_of_a_perfect_auc_is_that_of_its_independent_pairs():
    found = auc_interval(np.arange(9.0), np.arange(10.0, 50))
    assert found == share_interval(9, 9)
    assert auc_interval(np.arange(10.0, 50), np.arange(9.0)) == share_interval(0, 9)
    same = auc_interval(np.zeros(5), np.zeros(7))
    assert same.low < 0.5 < same.high


@pytest.mark.parametrize(("real", "fake"), [([], [1.0, 2]), ([0.0], [1.0, 2]), ([0.0], [1.0])])
def test_too_few_images_have_no_interval(real, fake):
    found = auc_interval(np.array(real), np.array(fake))
    assert math.isnan(found.low)
    assert math.isnan(found.high)


def test_coverage_near_an_auc_of_1():
    """Normal scores, 50 images of a class, AUC 0.995: 1,000 repetitions. A percentile bootstrap covers 76 %."""
    rng, auc = np.random.default_rng(0), 0.995
    draws = ((rng.normal(size=50), rng.normal(math.sqrt(2) * norm.ppf(auc), size=50)) for _ in range(1000))
    assert np.mean([one.low <= auc <= one.high for one in (auc_interval(*draw) for draw in draws)]) > 0.93


@pytest.mark.parametrize(("sources", "least"), [(2, 0.88), (4, 0.91), (20, 0.92)])
def test_a_mean_over_few_sources_has_an_interval_that_holds_the_truth(sources, least):
    rng = np.random.default_rng(3)
    found = [mean_interval(rng.normal(0.6, 0.05, sources), 400, seed) for seed in range(500)]
    assert np.mean([one.low <= 0.6 <= one.high for one in found]) > least


def test_a_mean_leaves_out_figures_that_do_not_exist_and_needs_two_that_differ():
    assert mean_interval([0.6, 0.7, math.nan, 0.8]) == mean_interval([0.6, 0.7, 0.8])
    assert math.isnan(mean_interval([0.6, math.nan]).low)
    assert math.isnan(mean_interval([1.0, 1.0, 1.0]).low)
    assert mean_interval([0.9, 1.0, 1.0]).high == 1.0
    assert mean_interval([-0.2, 0.1], bounds=(-1, 1)).low < -0.2
