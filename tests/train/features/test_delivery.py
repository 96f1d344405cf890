"""Tiers of delivery: three views of every image, each a source of the calibration, and a reason where none is known."""

from __future__ import annotations

import io

import numpy as np
import pytest
from cinemae.runtime.core.calibration import Calibration
from cinemae.runtime.core.manifest import MethodConfig
from cinemae.runtime.evidence.fact import Evidence
from cinemae.runtime.scoring.reasons import quality_reasons
from cinemae.train.data.transforms import TIERS, transform_of
from cinemae.train.features.cache import FeatureCache
from cinemae.train.fitting.examples import read_examples
from PIL import Image


def test_a_tier_is_a_small_jpeg_of_its_quality():
    """The quality is read back from the quantisation table of Pillow, which scales the table of ITU-T T.81 Annex K."""
    noise = np.random.default_rng(0).integers(0, 256, (900, 1200, 3), dtype=np.uint8)
    image = Image.fromarray(noise)
    for view, (side, quality) in enumerate(((768, 60), (512, 40)), 1):
        found = transform_of("delivery", view)(image, np.random.default_rng(0))
        assert max(found.size) == side
        wanted = image.resize((side, side * 3 // 4), Image.Resampling.BICUBIC, reducing_gap=2.0)
        buffer = io.BytesIO()
        wanted.save(buffer, "JPEG", quality=quality, subsampling="4:2:0")
        np.testing.assert_array_equal(np.asarray(found), np.asarray(Image.open(buffer).convert("RGB")))
    assert transform_of("delivery")(image, np.random.default_rng(0)) is image
    small = Image.new("RGB", (300, 200))
    assert transform_of("delivery", 2)(small, np.random.default_rng(0)).size == (300, 200)


def test_every_tier_of_a_source_is_a_source(create, samples, fill):
    spec = create(MethodConfig(mask_sets=1), augment="delivery", views=1)
    report = fill(samples, spec)
    cache = FeatureCache(report.folder, report.samples)
    examples = read_examples(cache, cache.select(), cache.spec.method())[0]
    scores = examples.scores(np.zeros(len(examples), np.float32))
    generators = {row.generator for row in cache.rows}
    names = {f"{name}{tier}" for name in generators for tier in ("", *(f", {tier.name}" for tier in TIERS))}
    assert set(scores.sources) == names
    assert examples.measured.all()
    assert examples.first_views.sum() * 3 == len(examples)


@pytest.mark.parametrize(
    ("lowest", "quality", "named"), [(None, "59", True), (None, "60", False), (40, "40", False), (40, "39", True)]
)
def test_a_quality_below_those_measured_is_a_reason(tiny_manifest, lowest, quality, named):
    manifest = tiny_manifest.model_copy(update={"calibration": Calibration(lowest_quality=lowest)})
    facts = [Evidence("jpeg_quality", "JPEG quantisation table", "", quality), Evidence("software", "EXIF", "x", "30")]
    assert [one.code for one in quality_reasons(facts, manifest)] == (["jpeg"] if named else [])
