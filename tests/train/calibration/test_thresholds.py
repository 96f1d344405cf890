"""Conformal thresholds: exact counts, ties, small sources, the strictest source; the file of the scores."""

from __future__ import annotations

import numpy as np
import pytest
from cinemae.runtime.core.errors import UsageError
from cinemae.train.calibration.rates import Rates
from cinemae.train.calibration.scores import Scores
from cinemae.train.calibration.thresholds import conformal_threshold, strictest_threshold, two_sided

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


def test_the_hardest_source_decides_and_small_ones_count_together():
    easy, hard = np.zeros(1000, np.float32), np.linspace(5, 6, 50, dtype=np.float32)
    assert strictest_threshold({"easy": easy, "hard": hard}, 0.05) > 5.9
    small = {str(i): np.array([float(i)], np.float32) for i in range(30)}
    assert strictest_threshold({"easy": easy, **small}, 0.05) > 28
    assert strictest_threshold({"few": easy[:5]}, 0.05) is None


def test_both_verdicts_keep_their_rate_in_every_source():
    rng = np.random.default_rng(0)
    sources = np.repeat([f"s{i}" for i in range(12)], 100)
    labels = np.repeat(np.arange(12) % 2, 100)
    logits = (rng.normal(size=1200) + labels + rng.normal(size=12).repeat(100)).astype(np.float32)
    ai_from, real_below = two_sided(Scores(logits, labels, sources), Rates(false_alarm=0.05, miss=0.1))
    for source in np.unique(sources):
        own, label = logits[sources == source], labels[sources == source][0]
        wrong = (own < real_below) if label else (own >= ai_from)
        assert wrong.sum() + 1 <= (0.1 if label else 0.05) * 101
    assert real_below < ai_from


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
