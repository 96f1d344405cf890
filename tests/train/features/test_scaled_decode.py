"""Training decodes as its cache's specification says, and the choice is part of the cache's name."""

from __future__ import annotations

import numpy as np
import pytest
from cinemae.runtime.core.manifest import Backbone, MethodConfig, Preprocess
from cinemae.runtime.images.decode import decode
from cinemae.runtime.images.preprocess import load_image, resize_crop
from cinemae.train.data.sample import Sample
from cinemae.train.data.transforms import TRANSFORMS
from cinemae.train.features.cache import FeatureCache
from cinemae.train.features.cache_spec import CacheSpec
from cinemae.train.features.extract import FeatureExtractor, extract
from PIL import Image
from recording import recording

PREPROCESS = Preprocess(resize_short=72, crop=64)


@pytest.fixture
def spec(tiny_config):
    backbone = Backbone(config=tiny_config, source="seeded random values", sha256="0" * 64, licence="Apache-2.0")
    return CacheSpec.create(backbone, PREPROCESS, MethodConfig())


def test_scaled_decoding_gives_training_the_pixels_of_the_runtime(spec, tiny_detector, tmp_path, monkeypatch):
    path = tmp_path / "large.jpg"
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 256, (300, 420, 3), dtype=np.uint8)).save(path, quality=90)
    scaled = PREPROCESS.model_copy(update={"decode": "scaled"})
    seen = []
    monkeypatch.setattr(FeatureExtractor, "__call__", recording(FeatureExtractor.__call__, seen))
    for augment in ("none", "robust"):
        changed = spec.model_copy(update={"preprocess": scaled, "augment": augment})
        report = extract([Sample(str(path), 1, "g", "train")], lambda: tiny_detector.mae, changed, tmp_path, quiet=True)
        (row,) = FeatureCache(report.folder).rows
    runtime, full = load_image(path, scaled), load_image(path, PREPROCESS)
    assert np.array_equal(seen[0][0], runtime.pixels)
    assert not np.array_equal(runtime.pixels, full.pixels)
    generator = np.random.default_rng([0, 0, int(row.content[:16], 16)])
    assert np.array_equal(seen[1][0], resize_crop(TRANSFORMS["robust"](decode(path), generator), PREPROCESS))
