"""What decides a feature: mask sets, K, preprocessing, and the part of an extraction."""

from __future__ import annotations

import numpy as np
import pytest
from cinemae.runtime.core.errors import UsageError
from cinemae.runtime.core.manifest import Backbone, MethodConfig, Preprocess
from cinemae.train.cli.option_checks import parse_shard
from cinemae.train.features.cache_spec import CacheSpec, draw_mask_sets
from cinemae.train.features.extract import preprocess_for

PREPROCESS = Preprocess(resize_short=72, crop=64)


@pytest.fixture
def backbone(tiny_config):
    return Backbone(config=tiny_config, source="seeded random values", sha256="0" * 64, licence="Apache-2.0")


@pytest.mark.parametrize("text", ["1", "2/2", "-1/2", "a/b", "0/0", ""])
def test_wrong_shards_are_usage_errors(text):
    with pytest.raises(UsageError, match="--shard"):
        parse_shard(text)
    assert parse_shard("1/2") == (1, 2)


def test_mask_sets_hold_the_deployed_one_first(tiny_config):
    method = MethodConfig(k=2, mask_sets=3, mask_seed=7)
    sets = draw_mask_sets(tiny_config.n_patches, method)
    assert sets.shape == (3, 2, 4)
    alone = draw_mask_sets(tiny_config.n_patches, method.model_copy(update={"mask_sets": 1}))
    assert np.array_equal(sets[:1], alone)
    assert len({one.tobytes() for one in sets}) == 3


def test_fewer_runs_are_the_first_ones(backbone):
    spec = CacheSpec.create(backbone, PREPROCESS, MethodConfig(k=6, mask_sets=2))
    assert spec.method(2).k == 2
    with pytest.raises(UsageError, match="K = 6"):
        spec.method(7)
    small = draw_mask_sets(backbone.config.n_patches, MethodConfig(k=2, mask_sets=2))
    assert np.array_equal(spec.mask_sets()[:, :2], small), "one cache of K = 6 serves every smaller K"


def test_preprocess_keeps_the_papers_proportion(tiny_config):
    assert preprocess_for(tiny_config) == Preprocess(resize_short=73, crop=64)
    assert preprocess_for(tiny_config.model_copy(update={"image_size": 224})) == Preprocess()
