"""What decides a feature: mask sets, K, preprocessing, precision and the other fields of a cache's key."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import pytest
from cinemae.runtime.core.errors import UsageError
from cinemae.runtime.core.manifest import GlobalEncoder, MethodConfig, Preprocess
from cinemae.train.compute import PRECISIONS
from cinemae.train.features.cache_spec import CacheSpec, draw_mask_sets
from cinemae.train.features.extract import preprocess_for


def test_mask_sets_hold_the_deployed_one_first(tiny_config):
    method = MethodConfig(k=2, mask_sets=3, mask_seed=7)
    sets = draw_mask_sets(tiny_config.n_patches, method)
    assert sets.shape == (3, 2, 4)
    alone = draw_mask_sets(tiny_config.n_patches, method.model_copy(update={"mask_sets": 1}))
    assert np.array_equal(sets[:1], alone)
    assert len({one.tobytes() for one in sets}) == 3


def test_fewer_runs_are_the_first_ones(create, tiny_config):
    spec = create(MethodConfig(k=6, mask_sets=2))
    assert spec.method(2).k == 2
    with pytest.raises(UsageError, match="K = 6"):
        spec.method(7)
    small = draw_mask_sets(tiny_config.n_patches, MethodConfig(k=2, mask_sets=2))
    assert np.array_equal(spec.mask_sets()[:, :2], small), "one cache of K = 6 serves every smaller K"


def test_preprocess_keeps_the_papers_proportion(tiny_config):
    assert preprocess_for(tiny_config) == Preprocess(resize_short=73, crop=64, decode="scaled")
    assert preprocess_for(tiny_config.model_copy(update={"image_size": 224}), "full") == Preprocess()


def test_another_configuration_never_meets_these_features(backbone, create, spec, samples, fill):
    method, preprocess = MethodConfig(mask_sets=3), spec.preprocess
    first = fill(samples[:4], spec).folder
    others = [
        CacheSpec.create(backbone.model_copy(update={"sha256": "1" * 64}), preprocess, method),
        CacheSpec.create(backbone, Preprocess(resize_short=64, crop=64), method),
        CacheSpec.create(backbone, preprocess.model_copy(update={"decode": "scaled"}), method),
        create(method.model_copy(update={"mask_seed": 5})),
        create(method.model_copy(update={"f_global": "mean"})),
        create(method, augment="robust"),
        create(method, augment="robust", augment_seed=1),
        create(method, augment="robust", views=2),
        *(create(method, precision=name) for name in PRECISIONS[1:]),
    ]
    assert len({spec.key, *(other.key for other in others)}) == 9 + len(PRECISIONS) - 1
    report = fill(samples[:4], others[0])
    assert report.folder != first
    assert report.computed == 4
    moved = CacheSpec.create(backbone.model_copy(update={"source": "elsewhere"}), preprocess, method)
    assert moved.key == spec.key, "the same bytes from another place are the same weights"


def test_a_global_encoder_is_in_the_key_and_its_absence_is_not(backbone, create, spec):
    parts = spec.model_dump(mode="json", exclude={"backbone", "mask_strategy", "mask_seed"})
    parts["backbone"] = ["0" * 64, backbone.config.model_dump(mode="json", exclude={"name"})]
    plain = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]
    assert spec.key == plain, "a cache without global encoder keeps its key"
    encoder = GlobalEncoder(source="vit:a", name="vit", sha256="2" * 64, licence="MIT", dim=8, size=64,
                            mean=(0.5,) * 3, std=(0.5,) * 3)

    def key(**changes):
        beside = backbone.model_copy(update={"global_encoder": encoder.model_copy(update=changes)})
        return CacheSpec.create(beside, spec.preprocess, MethodConfig(mask_sets=3)).key

    assert len({spec.key, key(), key(sha256="3" * 64), key(name="vit.tag"), key(size=96), key(std=(1.0,) * 3)}) == 6
    assert key(source="vit:b", licence="unknown") == key(), "the same bytes from another place are the same weights"
    with_encoder = spec.model_copy(update={"backbone": backbone.model_copy(update={"global_encoder": encoder})})
    assert "f_global vit:a (22222222)" in with_encoder.describe()
    assert CacheSpec.model_validate_json(with_encoder.model_dump_json()) == with_encoder
    assert "global_encoder" not in spec.model_dump_json()
