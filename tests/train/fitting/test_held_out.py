"""Scores for the calibration: each source is scored by a head that never saw it, or the wording says otherwise."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from cinemae.runtime.manifest import Backbone, HeadConfig, MethodConfig, Preprocess
from cinemae.train.data.samples import read_samples
from cinemae.train.features.cache import FeatureCache
from cinemae.train.features.cache_spec import CacheSpec
from cinemae.train.features.extract import extract
from cinemae.train.fitting.folds import source_folds
from cinemae.train.fitting.head_training import FitConfig, examples, logits_of, sources_of, train_head
from cinemae.train.fitting.held_out import held_out_scores
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
                 (~inside & ~np.isin(order, held), ~inside & np.isin(order, held), inside)]  # fmt: skip
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
