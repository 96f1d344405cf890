"""A backbone of seeded random values, the specification of its cache, and an extraction into it."""

from __future__ import annotations

from functools import partial

import pytest
from cinemae.runtime.core.manifest import Backbone, MethodConfig, Preprocess
from cinemae.train.data.samples import read_samples
from cinemae.train.features.cache_spec import CacheSpec
from cinemae.train.features.extract import FeatureExtractor, extract


@pytest.fixture
def backbone(tiny_config):
    return Backbone(config=tiny_config, source="seeded random values", sha256="0" * 64, licence="Apache-2.0")


@pytest.fixture
def create(backbone):
    """`CacheSpec.create` of the backbone at its input size: takes the method and more."""
    return partial(CacheSpec.create, backbone, Preprocess(resize_short=72, crop=64))


@pytest.fixture
def spec(create):
    return create(MethodConfig(mask_sets=3))


@pytest.fixture
def samples(image_tree):
    return read_samples(image_tree, split="val")


@pytest.fixture
def fill(tiny_detector, tmp_path):
    def fill(samples, spec, **options):
        options = {"quiet": True, "batch_size": 8, "workers": 1, **options}
        return extract(samples, lambda: tiny_detector.mae, spec, options.pop("root", tmp_path / "cache"), **options)

    return fill


@pytest.fixture
def seen(monkeypatch):
    """The batches of images that extractors were given."""
    batches, call = [], FeatureExtractor.__call__
    monkeypatch.setattr(FeatureExtractor, "__call__", lambda self, given: batches.append(given) or call(self, given))
    return batches
