"""Scores for the calibration: each source is scored by a head that never saw it, or the wording says otherwise."""

from __future__ import annotations

from itertools import product
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from cinemae.runtime.core.manifest import HeadConfig
from cinemae.train.calibration.calibrate import calibrate
from cinemae.train.calibration.rates import Rates
from cinemae.train.calibration.scores import OWN_HEAD
from cinemae.train.data.sample import Sample
from cinemae.train.fitting import out_of_fold as module
from cinemae.train.fitting.examples import Examples
from cinemae.train.fitting.fit_config import FitConfig
from cinemae.train.fitting.head_training import train_head
from cinemae.train.fitting.out_of_fold import calibration_scores, left_out_scores, out_of_fold, source_folds

HEAD = HeadConfig(agg_hidden=(8, 12), cls_hidden=10)
CONFIG = FitConfig(epochs=2, lr=1e-2, balance_sources=True)


def drawn(images: int, views: int = 1, shared: int = 0, every: int = 5) -> tuple[Examples, Examples]:
    """Two sources a class: f_global is the number of the image and a drawn logit. Every `every`-th image is held out.

    Args:
        images: of each source.
        views: rows of each image.
        shared: this many images of each class are in both of its sources.
        every: which images are held out.
    """
    rng = np.random.default_rng(0)
    rows, features = [], []
    for label, name in product((0, 1), "ab"):
        for index in range(images):
            number = 1000 * label + (index if index < shared else index + (500 if name == "b" else 0))
            logit = rng.normal() + label
            for view in range(views):
                rows.append(Sample(f"/{name}/{index}", label, name, "train", f"{number:064x}", view))
                features.append((number, logit))
    labels = torch.tensor([float(row.label) for row in rows])
    whole = Examples(torch.tensor(features).float(), torch.zeros(len(rows), 1, 3), labels, tuple(rows))
    held = np.array([int(row.content, 16) % every == 0 for row in rows])
    return whole.take(~held), whole.take(held)


def test_folds_keep_a_source_whole_and_both_classes_outside():
    labels = np.array([0, 0, 0, 1, 1, 1, 1])
    sources = np.array(["a", "a", "b", "a", "c", "c", "d"])
    folds = source_folds(labels, sources)
    pairs = np.array([f"{label}{source}" for label, source in zip(labels, sources, strict=True)])

    def score(fitted, scored):
        assert not {*pairs[fitted]} & {*pairs[scored]}
        assert {*labels[fitted]} == {0, 1}
        return np.full(scored.sum(), 1.0, np.float32)

    np.testing.assert_array_equal(out_of_fold(folds, score), np.ones(7))
    assert source_folds(labels, np.array(["x"] * 3 + ["a", "b", "c", "d"])) is None


def test_a_source_is_scored_by_a_head_fitted_on_the_others():
    train, held = drawn(images=40)
    found = left_out_scores(train, held, HEAD, CONFIG, quiet=True)
    whole = train.joined(held)
    folds, is_held = source_folds(whole.labels.numpy(), whole.sources), np.arange(len(whole)) >= len(train)
    for fold in np.unique(folds):
        parts = whole.take((folds != fold) & ~is_held), whole.take((folds != fold) & is_held)
        expected = whole.take(folds == fold).logits(train_head(*parts, CONFIG, HEAD, quiet=True).head)
        np.testing.assert_array_equal(found.logits[folds == fold], expected)


@pytest.fixture
def mine(monkeypatch):
    """Heads without training: the logit is the drawn one, that of the deployed head ten times as large."""

    def fit_on(train, held, *_, quiet):
        return SimpleNamespace(head={*train.f_global[:, 0].tolist(), *held.f_global[:, 0].tolist()})

    def logits(self, head):
        if isinstance(head, set):
            assert not head & {*self.f_global[:, 0].tolist()}, "the head has seen these bytes"
        return self.f_global[:, 1].numpy() * (1 if isinstance(head, set) else 10)

    monkeypatch.setattr(module, "train_head", fit_on)
    monkeypatch.setattr(Examples, "logits", logits)
    return SimpleNamespace(config=HEAD)


def test_the_same_bytes_in_another_source_are_not_seen_either(mine):
    assert len(left_out_scores(*drawn(images=40, shared=10), HEAD, CONFIG).logits) == 160


@pytest.mark.parametrize("case", [drawn(40, shared=40), drawn(40, every=2000)], ids=["same images", "one held out"])
def test_where_no_source_can_be_left_out_the_head_itself_scores_and_the_words_say_so(mine, case):
    assert left_out_scores(*case, HEAD, CONFIG) is None
    scores, where = calibration_scores(*case, mine, CONFIG)
    assert len(scores.logits) == len(case[1])
    assert "other sources were not measured" in where


@pytest.mark.parametrize("shared", [0, 40])
def test_views_of_an_image_count_once(mine, shared):
    expected, found = (calibration_scores(*drawn(40, views, shared), mine, CONFIG)[0] for views in (1, 4))
    np.testing.assert_array_equal(found.logits, expected.logits)
    np.testing.assert_array_equal(found.labels, expected.labels)


def test_thresholds_hold_for_the_deployed_head_too(mine):
    train, held = drawn(images=300, every=3)
    scores, where = calibration_scores(train, held, mine, CONFIG)
    assert "each source scored by a head fitted without it" in where
    assert f"and {len(held)} held-out images by the head itself" in where
    own = scores.by_source(0)[OWN_HEAD]
    before = calibrate(left_out_scores(train, held, HEAD, CONFIG), "", Rates())
    found = calibrate(scores, where, Rates())
    assert (own >= before.ai_from).mean() > 0.05, "otherwise the test shows nothing"
    assert (own >= found.ai_from).mean() <= 0.05
    assert (scores.by_source(1)[OWN_HEAD] < found.real_below).mean() <= 0.05
    assert (found.n_real, found.n_ai) == (before.n_real, before.n_ai) == (600, 600)
    assert found.likelihood == before.likelihood
