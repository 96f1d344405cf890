"""Scores for the calibration: each source is scored by a head that never saw it, or the wording says otherwise."""

from __future__ import annotations

from itertools import product
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from cinemae.runtime.core.manifest import Backbone, HeadConfig, MethodConfig, Preprocess
from cinemae.train.calibration.platt import calibrate_probability
from cinemae.train.calibration.scores import OWN_HEAD
from cinemae.train.data.sample import Sample
from cinemae.train.data.samples import read_samples
from cinemae.train.features.cache import FeatureCache
from cinemae.train.features.cache_spec import CacheSpec
from cinemae.train.features.extract import extract
from cinemae.train.fitting import held_out
from cinemae.train.fitting.fit_config import FitConfig
from cinemae.train.fitting.folds import source_folds
from cinemae.train.fitting.head_training import examples, logits_of, sources_of, train_head
from cinemae.train.fitting.held_out import calibration_scores, held_out_scores
from cinemae.train.model.head import Head

METHOD = MethodConfig(mask_sets=2)
HEAD = HeadConfig(agg_hidden=(8, 12), cls_hidden=10)
CONFIG = FitConfig(epochs=3, lr=1e-2, split="val", balance_sources=True)


@pytest.fixture(scope="module")
def cache(image_tree, tiny_detector, tiny_config, tmp_path_factory):
    info = Backbone(config=tiny_config, source="seeded random values", sha256="0" * 64, licence="Apache-2.0")
    spec = CacheSpec.create(info, Preprocess(resize_short=72, crop=64), METHOD)
    root = tmp_path_factory.mktemp("cache")
    return FeatureCache(extract(read_samples(image_tree), lambda: tiny_detector.mae, spec, root, quiet=True).folder)


def test_a_source_is_scored_by_a_head_fitted_on_the_others(cache):
    everything = cache.select(split="val")
    labels, sources = cache.labels(everything), sources_of(cache, everything)
    is_held = np.arange(len(everything)) % 3 == 0
    rows, held = everything[~is_held], everything[is_held]
    found, where = held_out_scores(cache, rows, held, METHOD, HEAD, CONFIG, Head(32, HEAD), quiet=True)
    assert "each source scored by a head fitted without it" in where
    order = np.concatenate([rows, held])
    labels, sources = cache.labels(order), sources_of(cache, order)
    folds = source_folds(labels, sources)
    for fold in np.unique(folds):
        inside = folds == fold
        assert not {*zip(labels[inside], sources[inside], strict=True)} & {
            *zip(labels[~inside], sources[~inside], strict=True)
        }
        parts = [examples(cache, order[chosen], METHOD, balance_sources=True) for chosen in
                 (~inside & ~np.isin(order, held), ~inside & np.isin(order, held), inside)]
        head = train_head(parts[0], parts[1], CONFIG, HEAD, quiet=True).head
        expected = logits_of(head, parts[2].f_global, parts[2].stats[:, 0]).numpy()
        np.testing.assert_array_equal(found.logits[inside], expected)


def test_where_no_epoch_could_be_chosen_the_head_itself_scores_and_the_words_say_so(cache):
    everything = cache.select(split="val")
    labels = cache.labels(everything)
    held = np.concatenate([everything[labels == 1][:1], everything[labels == 0][:1]])
    rows = np.setdiff1d(everything, held)
    torch.manual_seed(0)
    found, where = held_out_scores(cache, rows, held, METHOD, HEAD, CONFIG, Head(32, HEAD).eval(), quiet=True)
    assert len(found.logits) == 2
    assert "other sources were not measured" in where


class DrawnFeatures:
    """Stands for a cache: rows of two sources a class, whose f_global is the number of the image and a drawn logit.

    Args:
        images: of each source.
        views: rows of each image.
        shared: this many images of each class are in both of its sources.
    """

    def __init__(self, images: int, views: int = 1, shared: int = 0) -> None:
        rng = np.random.default_rng(0)
        self.rows, features = [], []
        for label, name in product((0, 1), "ab"):
            for index in range(images):
                number = 1000 * label + (index if index < shared else index + (500 if name == "b" else 0))
                drawn = rng.normal() + label
                for view in range(views):
                    self.rows.append(Sample(f"/{name}/{index}", label, name, "train", f"{number:064x}", view))
                    features.append((number, drawn))
        self.features = np.array(features, np.float32)

    def labels(self, chosen):
        return np.array([self.rows[i].label for i in chosen])

    def compact(self, chosen, method):
        return self.features[chosen], np.zeros((len(chosen), 1, 3), np.float32)

    def split(self, every: int = 5):
        """Rows to train on, and every `every`-th image held out."""
        held = np.array([int(row.content, 16) % every == 0 for row in self.rows])
        return np.flatnonzero(~held), np.flatnonzero(held)


@pytest.fixture
def heads(monkeypatch):
    """Heads without training: the logit is the drawn one, that of the deployed head "mine" ten times as large."""
    seen = {}

    def fit_on(train, held, *_args, **_options):
        seen["images"] = {*train.f_global[:, 0].tolist(), *held.f_global[:, 0].tolist()}
        return SimpleNamespace(head="another")

    def scored(head, f_global, stats):
        if head == "another":
            assert not seen["images"] & set(f_global[:, 0].tolist()), "the head has seen these bytes"
        return f_global[:, 1] * (10 if head == "mine" else 1)

    monkeypatch.setattr(held_out, "train_head", fit_on)
    monkeypatch.setattr(held_out, "logits_of", scored)
    return "mine"


def test_the_same_bytes_in_another_source_are_not_seen_either(heads):
    data = DrawnFeatures(images=40, shared=10)
    found, where = held_out_scores(data, *data.split(), METHOD, HEAD, CONFIG, heads, quiet=True)
    assert "fitted without it" in where
    assert len(found.logits) == 160


def test_sources_that_hold_the_same_images_cannot_be_told_apart_and_the_words_say_so(heads):
    data = DrawnFeatures(images=40, shared=40)
    _, where = held_out_scores(data, *data.split(), METHOD, HEAD, CONFIG, heads, quiet=True)
    assert "other sources were not measured" in where


@pytest.mark.parametrize("shared", [0, 40])
def test_views_of_an_image_count_once(heads, shared):
    one, four = (DrawnFeatures(40, views, shared) for views in (1, 4))
    expected, found = (held_out_scores(data, *data.split(), METHOD, HEAD, CONFIG, heads, quiet=True)[0]
                       for data in (one, four))
    np.testing.assert_array_equal(found.logits, expected.logits)
    np.testing.assert_array_equal(found.labels, expected.labels)


def test_thresholds_hold_for_the_deployed_head_too(heads):
    data = DrawnFeatures(images=300)
    rows, held = data.split(every=3)
    others, _ = held_out_scores(data, rows, held, METHOD, HEAD, CONFIG, heads, quiet=True)
    scores, where = calibration_scores(data, rows, held, METHOD, HEAD, CONFIG, heads, quiet=True)
    assert f"and {len(held)} held-out images by the head itself" in where
    own = scores.by_source(0)[OWN_HEAD]
    found, before = calibrate_probability(scores, where), calibrate_probability(others, "")
    assert (own >= before.ai_from).mean() > 0.05, "otherwise the test shows nothing"
    assert (own >= found.ai_from).mean() <= 0.05
    assert (scores.by_source(1)[OWN_HEAD] < found.real_below).mean() <= 0.05
    assert (found.n_real, found.n_ai) == (before.n_real, before.n_ai) == (600, 600)
    assert (found.a, found.b) == (before.a, before.b)
