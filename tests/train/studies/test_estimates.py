"""Intervals of accuracies, their differences and AUCs, over images and seeds."""

from __future__ import annotations

import numpy as np
import pytest
from cinemae.train.calibration.scores import Scores
from cinemae.train.studies.estimates import SeedScores

GENERATORS = ("a", "b")


def truth(per_class: int = 20) -> Scores:
    """Two generators with as many images of each class."""
    labels = np.tile(np.repeat([0, 1], per_class), 2)
    return Scores(np.zeros(len(labels)), labels, np.repeat(GENERATORS, 2 * per_class))


def right(known: Scores) -> np.ndarray:
    return np.where(known.labels == 1, 1.0, -1.0)


def flipped(scores: np.ndarray, *at: int) -> np.ndarray:
    return np.where(np.isin(np.arange(len(scores)), at), -scores, scores)


def test_two_flips_in_eighty_images_are_no_difference():
    known = truth()
    clean = flipped(right(known), 3, 30, 50, 77)
    changed = SeedScores([flipped(clean, 10, 60)], known).gain(SeedScores([clean], known), GENERATORS)
    assert changed == pytest.approx(-0.025)
    assert -0.12 < changed.low < -0.06
    assert 0 < changed.high < 0.06


def test_an_accuracy_of_one_has_an_interval_and_seeds_widen_it():
    known = truth()
    exact = SeedScores([right(known)], known).accuracy(GENERATORS)
    assert (exact, exact.high) == (1, 1)
    assert 0.9 < exact.low < 0.97, "40 images of each of two generators"
    worse = flipped(right(known), *range(0, 80, 4))
    alike = SeedScores([flipped(right(known), *range(0, 80, 8))] * 3, known).accuracy(GENERATORS)
    apart = SeedScores([right(known), worse, flipped(right(known), *range(0, 80, 8))], known).accuracy(GENERATORS)
    assert alike == pytest.approx(apart)
    assert apart.high - apart.low > 1.5 * (alike.high - alike.low)


@pytest.mark.parametrize("rate", [0.98, 0.8])
def test_the_interval_of_a_mean_covers_its_figure(rate):
    """Of 400 sets of images with a known rate, at least 93 % of the intervals hold it, of the mean and of a change."""
    known, rng = truth(), np.random.default_rng(0)
    held = np.zeros(2)
    for _ in range(400):
        one, other = (flipped(right(known), *np.flatnonzero(rng.random(80) > rate)) for _ in range(2))
        mean = SeedScores([one], known).accuracy(GENERATORS)
        change = SeedScores([one], known).gain(SeedScores([other], known), GENERATORS)
        held += mean.low <= rate <= mean.high, change.low <= 0 <= change.high
    assert (held >= 0.93 * 400).all(), held


def test_aucs_are_means_over_generators_and_seeds():
    known = truth()
    half = np.where(known.sources == "a", right(known), 0.0)
    scored = SeedScores([right(known), half], known)
    assert scored.seed_aucs(GENERATORS).tolist() == [1, 0.75]
    mean = scored.auc(GENERATORS)
    assert mean == pytest.approx(0.875)
    assert 0 <= mean.low < mean < mean.high == 1
    assert scored.class_accuracy(1, GENERATORS) == 1
    assert scored.class_accuracy(0, GENERATORS) == pytest.approx(0.75), "0 is AI"
