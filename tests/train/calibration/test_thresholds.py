"""Conformal thresholds: exact counts, ties, small sources, the strictest source; the file of the scores."""

from __future__ import annotations

import numpy as np
import pytest
from cinemae.runtime.core.errors import UsageError
from cinemae.train.calibration.rates import Rates
from cinemae.train.calibration.scores import Scores
from cinemae.train.calibration.thresholds import conformal_threshold, rules, strict_threshold

DRAWS = 4000
RATE_TOLERANCE = 0.015
"""Four standard errors of a rate of 0.05 over `DRAWS` draws."""


@pytest.mark.parametrize("images", [19, 39, 100, 333])
@pytest.mark.parametrize("rate", [0.05, 0.1])
def test_a_new_image_exceeds_the_threshold_at_most_at_the_rate(images, rate):
    rng = np.random.default_rng(images)
    drawn = rng.normal(size=(DRAWS, images + 1)).astype(np.float32)
    over = np.mean([row[-1] >= conformal_threshold(row[:-1], rate) for row in drawn])
    exact = np.floor(rate * (images + 1) + 1e-9) / (images + 1)
    assert over == pytest.approx(exact, abs=RATE_TOLERANCE)


def test_the_threshold_counts_k_plus_1_of_n_plus_1():
    """p = (k + 1) / (n + 1), Vovk et al. 2005: 39 scores allow one above at 5 %, 18 allow none and promise nothing."""
    scores = np.arange(39, dtype=np.float32)
    for values, above in ((scores, 1), (scores[:19], 0), (np.zeros(100, np.float32), 0)):
        assert (values >= conformal_threshold(values, 0.05)).sum() == above
    assert conformal_threshold(scores[:18], 0.05) is None


def test_the_hardest_source_decides_where_sources_are_few():
    easy, hard = np.zeros(1000, np.float32), np.linspace(5, 6, 50, dtype=np.float32)
    found = strict_threshold({"easy": easy, "hard": hard}, 0.05, 0.1)
    assert found.threshold > 5.9
    assert found.gamma == pytest.approx(1 / 3)


def test_the_kth_strictest_of_many_sources_decides():
    groups = {str(i): np.full(100, i, np.float32) for i in range(29)}
    found = strict_threshold(groups, 0.05, 0.1)
    assert found.threshold == pytest.approx(26, abs=1e-5)  # 30 / 10 = 3: the third strictest
    assert found.gamma == pytest.approx(3 / 30)


def test_small_sources_count_as_one_and_one_too_small_is_named():
    small = {str(i): np.array([float(i)], np.float32) for i in range(30)}
    found = strict_threshold({"easy": np.zeros(1000, np.float32), **small}, 0.05, 0.1)
    assert found.threshold > 28
    assert (found.gamma, found.too_small) == (pytest.approx(1 / 3), ())
    alone = strict_threshold({"easy": np.zeros(1000, np.float32), "flux": np.ones(14, np.float32)}, 0.05, 0.1)
    assert alone.threshold < 1
    assert alone.too_small == ("flux",)
    assert strict_threshold({"few": np.zeros(5, np.float32)}, 0.05, 0.1).threshold is None


def test_three_tiers_of_few_images_are_no_more_images():
    tiers = {f"mine{tier}": np.zeros(18, np.float32) for tier in ("", ", 768 px, JPEG 60", ", 512 px, JPEG 40")}
    assert strict_threshold(tiers, 0.05, 0.1).threshold is None
    both = {f"{name}{tier[4:]}": scores for tier, scores in tiers.items() for name in ("a", "b")}
    assert strict_threshold(both, 0.05, 0.1).gamma == pytest.approx(1 / 2), "36 images of two sources, joined"


def test_of_the_tiers_of_a_source_the_strictest_counts_and_no_tier_is_a_source_more():
    groups = {f"{i}{tier}": np.full(100, i + shift, np.float32)
              for i in range(9) for tier, shift in (("", 0), (", 768 px, JPEG 60", 20), (", 512 px, JPEG 40", 10))}
    found = strict_threshold(groups, 0.05, 0.2)
    assert found.threshold == pytest.approx(27, abs=1e-5)  # 10 / 5 = 2: the second strictest of 20 to 28
    assert found.gamma == pytest.approx(2 / 10)


def exceeding(draw, gamma, repetitions=2000):
    """Share of repetitions in which the last source that `draw` makes asks for a stricter threshold than the rule's."""
    over = stated = 0.0
    for seed in range(repetitions):
        *groups, new = draw(np.random.default_rng(seed))
        found = strict_threshold({str(i): group for i, group in enumerate(groups)}, 0.05, gamma)
        own = conformal_threshold(new, 0.05)
        over += own is not None and own > found.threshold
        stated += found.gamma
    return over / repetitions, stated / repetitions


@pytest.mark.slow
@pytest.mark.parametrize(("sources", "gamma"), [(2, 0.1), (5, 0.1), (20, 0.1), (20, 0.25)])
def test_a_new_source_exceeds_the_rate_at_most_as_often_as_stated(sources, gamma):
    """Exchangeable sources that differ from each other as much as the images within each."""
    over, stated = exceeding(lambda rng: [rng.normal(rng.normal(), 1, 60) for _ in range(sources + 1)], gamma)
    assert over <= stated + 0.03  # four standard errors of a share of 0.1 to 0.3 over 2,000 repetitions


@pytest.mark.slow
def test_tiny_sources_promise_no_more_than_one_source_can():
    """20 sources of 10 images, joined: a new source of 60 exceeds the rate in at most 1 of 2 repetitions."""
    over, stated = exceeding(
        lambda rng: [*(rng.normal(rng.normal(), 1, 10) for _ in range(20)), rng.normal(rng.normal(), 1, 60)], 0.1
    )
    assert over <= stated == 0.5


@pytest.mark.slow
def test_a_bad_source_moves_the_threshold_of_many_no_further_than_the_next():
    """One of 30 sources lies far out: by the strictest source nothing would be decided any more."""
    rng = np.random.default_rng(0)
    good = {str(i): rng.normal(rng.normal(), 1, 60) for i in range(29)}
    before = strict_threshold(good, 0.05, 0.1).threshold
    after = strict_threshold({**good, "bad": rng.normal(50, 1, 60)}, 0.05, 0.1).threshold
    assert after < max(strict_threshold(good, 0.05, 1e-3).threshold, before + 1)


def test_both_verdicts_keep_their_rate_in_all_but_a_tenth_of_the_sources():
    rng = np.random.default_rng(0)
    sources = np.repeat([f"s{i}" for i in range(12)], 100)
    labels = np.repeat(np.arange(12) % 2, 100)
    logits = (rng.normal(size=1200) + labels + rng.normal(size=12).repeat(100)).astype(np.float32)
    ai, real = rules(Scores(logits, labels, sources), Rates(false_alarm=0.05, miss=0.1))
    for source in np.unique(sources):
        own, label = logits[sources == source], labels[sources == source][0]
        wrong = (own < real.threshold) if label else (own >= ai.threshold)
        assert wrong.sum() + 1 <= (0.1 if label else 0.05) * 101  # six sources a class: the strictest decides
    assert real.threshold < ai.threshold


def test_scores_survive_the_file(tmp_path):
    path = tmp_path / "scores.safetensors"
    scores = Scores(np.float32([1, 2]), np.array([0, 1]), np.array(["b", "a"]))
    scores.save(path)
    again = Scores.load(path)
    for name in ("logits", "labels", "sources"):
        np.testing.assert_array_equal(getattr(again, name), getattr(scores, name))
    path.write_bytes(path.read_bytes()[:20])
    with pytest.raises(UsageError):
        Scores.load(path)
