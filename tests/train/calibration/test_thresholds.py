"""Conformal thresholds: exact counts, ties, small sources, the strictest source, folds by source."""

from __future__ import annotations

import numpy as np
import pytest
from cinemae.train.calibration.scores import SourceScores
from cinemae.train.calibration.thresholds import conformal_threshold, strictest_threshold, two_sided
from cinemae.train.fitting.folds import out_of_fold, source_folds

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
    assert (scores >= conformal_threshold(scores, 0.05)).sum() == 1
    assert conformal_threshold(scores[:18], 0.05) is None
    assert (scores[:19] >= conformal_threshold(scores[:19], 0.05)).sum() == 0


def test_ties_never_exceed_the_rate():
    scores = np.zeros(100, np.float32)
    assert (scores >= conformal_threshold(scores, 0.05)).sum() == 0


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
    found = two_sided(SourceScores(logits, labels, sources), 0.05, 0.1)
    for source in np.unique(sources):
        own, label = logits[sources == source], labels[sources == source][0]
        wrong = (own < found.real_below) if label else (own >= found.ai_from)
        assert wrong.sum() + 1 <= (0.1 if label else 0.05) * 101
    assert found.real_below < found.ai_from


def test_no_source_is_scored_by_a_head_that_saw_it():
    labels = np.array([0, 0, 0, 1, 1, 1, 1])
    sources = np.array(["a", "a", "b", "a", "c", "c", "d"])
    folds = source_folds(labels, sources)
    seen = []

    def score(fitted, scored):
        pairs = [set(zip(labels[mask].tolist(), sources[mask].tolist(), strict=True)) for mask in (fitted, scored)]
        assert not pairs[0] & pairs[1]
        assert {label for label, _ in pairs[0]} == {0, 1}
        seen.append(scored.sum())
        return np.zeros(scored.sum(), np.float32)

    assert len(out_of_fold(labels, sources, folds, score).logits) == sum(seen) == 7
    assert source_folds(labels, np.array(["x"] * 3 + ["a", "b", "c", "d"])) is None


def test_scores_survive_the_file(tmp_path):
    scores = SourceScores(np.float32([1, 2]), np.array([0, 1]), np.array(["b", "a"]))
    scores.save(tmp_path / "scores.safetensors")
    again = SourceScores.load(tmp_path / "scores.safetensors")
    for name in ("logits", "labels", "sources"):
        np.testing.assert_array_equal(getattr(again, name), getattr(scores, name))
