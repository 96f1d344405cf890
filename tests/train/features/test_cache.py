"""The feature cache: equal to a fresh forward, keyed by configuration, each image once, whole after kill -9."""

from __future__ import annotations

import logging
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from cinemae.runtime.core.errors import UsageError
from cinemae.runtime.core.manifest import MethodConfig
from cinemae.runtime.images.preprocess import load_image
from cinemae.train.data.sample import Sample
from cinemae.train.data.transforms import robust
from cinemae.train.features.cache import FeatureCache, open_cache, read_spec
from cinemae.train.features.cache_spec import SPEC_FILE
from cinemae.train.features.extract import extract
from cinemae.train.fitting.examples import read_examples
from cinemae.train.model.detector import CinemaeDetector
from PIL import Image
from training_tree import render

FRESH_TOLERANCE = 2e-4
"""Relative: LCAS from sums against LCAS from pixels cancels a few digits of float32 (values up to about 100)."""


def features_of(cache, method, rows=None):
    """f_global [n, D] and stats [n, R, 3] of the rows, all of them where none is named."""
    (found,) = read_examples(cache, cache.select() if rows is None else rows, method)
    return found.f_global.numpy(), found.stats.numpy()


def identities(folder):
    return [row.identity for row in FeatureCache(folder, None).rows]


METHODS = [
    MethodConfig(),
    MethodConfig(lambda_=0.0),
    MethodConfig(lambda_=1.0, pixel_space="imagenet"),
    MethodConfig(stat_reduction="sum", fidelity_reduction="mean"),
    MethodConfig(k=1, pixel_space="imagenet", stat_reduction="sum"),
]


@pytest.mark.parametrize("method", METHODS, ids=str)
def test_every_method_follows_from_the_cache_without_a_forward(method, samples, spec, fill, tiny_detector):
    cache = FeatureCache(fill(samples[:9], spec).folder, None)
    f_global, stats = features_of(cache, method)
    images = torch.from_numpy(np.stack([load_image(row.path, spec.preprocess).pixels for row in cache.rows]))
    for r, visible in enumerate(spec.mask_sets()):
        fresh = CinemaeDetector(tiny_detector.mae, tiny_detector.head, visible[: method.k], method).eval()
        with torch.inference_mode():
            found = fresh(images)
            cls = fresh.f_global(fresh.normalise(fresh.pixels(images)))
        np.testing.assert_allclose(stats[:, r], found.stats, rtol=FRESH_TOLERANCE, atol=FRESH_TOLERANCE)
        np.testing.assert_allclose(f_global, cls, rtol=FRESH_TOLERANCE, atol=FRESH_TOLERANCE)


def test_f_global_may_be_the_mean_of_the_patch_tokens(samples, create, fill, tiny_detector):
    spec = create(MethodConfig(f_global="mean"))
    cache = FeatureCache(fill(samples[:5], spec).folder, None)
    assert cache.spec.method().f_global == "mean"
    f_global, _ = features_of(cache, cache.spec.method())
    images = torch.from_numpy(np.stack([load_image(row.path, spec.preprocess).pixels for row in cache.rows]))
    with torch.inference_mode():
        tokens = tiny_detector.mae.encode(tiny_detector.normalise(tiny_detector.pixels(images)))
    expected = tokens[:, 1:].double().mean(dim=1)
    np.testing.assert_allclose(f_global, expected, rtol=FRESH_TOLERANCE, atol=FRESH_TOLERANCE)


def test_rows_carry_the_sample_and_a_second_run_computes_nothing_and_needs_no_model(samples, spec, fill, tmp_path):
    cache = FeatureCache(fill(samples, spec).folder, None)
    assert len(cache) == len(samples) == 32
    row = cache.rows[0]
    assert (row.label, row.generator, row.split, row.view) == (0, "gen_a", "val", 0)
    assert {row[:4] for row in cache.rows} == {sample[:4] for sample in samples}
    assert len(cache.select(generators=["gen_b"])) == 16
    assert cache.labels(cache.select(generators=["gen_b"])).sum() == 8
    report = extract(samples, lambda: pytest.fail("the backbone was loaded"), spec, tmp_path / "cache", quiet=True)
    assert (report.computed, report.reused, report.copied) == (0, 32, 0)


def test_same_bytes_are_computed_once(samples, spec, fill, tmp_path):
    copied = shutil.copy(samples[0].path, tmp_path)
    fill(samples[:4], spec)
    report = fill([*samples[:4], samples[0]._replace(path=copied, generator="gen_c")], spec)
    assert (report.computed, report.reused, report.copied) == (0, 4, 1)
    cache = FeatureCache(report.folder, None)
    pair = np.array([i for i, row in enumerate(cache.rows) if row.content == cache.rows[-1].content])
    assert {cache.rows[i].generator for i in pair} == {"gen_a", "gen_c"}
    f_global, _ = features_of(cache, MethodConfig(), pair)
    assert np.array_equal(*f_global)


def test_a_moved_data_set_is_the_same_data_set(samples, spec, fill, tmp_path, monkeypatch):
    folder = fill(samples[:4], spec).folder
    before = identities(folder)
    moved = [sample._replace(path=shutil.copy(sample.path, tmp_path)) for sample in samples[:4]]
    shards, read = [], FeatureCache._read
    monkeypatch.setattr(FeatureCache, "_read", lambda self, path, at: shards.append(path) or read(self, path, at))
    report = fill(moved, spec)
    assert report.computed == 0
    assert len(shards) == 1, "a shard is read once, not once a row"
    assert identities(folder) == before
    assert [row.path for row in FeatureCache(folder, report.samples).rows] == [s.path for s in moved]


def test_one_file_may_belong_to_several_generators_and_change_its_label(samples, spec, fill):
    twice = [samples[0], samples[0]._replace(generator="gen_c")]
    cache = FeatureCache(fill(twice, spec).folder, None)
    assert [row.generator for row in cache.rows] == ["gen_a", "gen_c"]
    assert fill(twice, spec).reused == 2
    cache = FeatureCache(fill([samples[0]._replace(label=1)], spec).folder, None)
    assert [(row.generator, row.label) for row in cache.rows] == [("gen_a", 1), ("gen_c", 0)]


def test_a_changed_file_replaces_its_row_even_with_the_same_size_and_time(spec, fill, tmp_path):
    path = tmp_path / "one.bmp"
    render(0, 1).save(path)
    sample = Sample(str(path), 0, "g", "val")
    first, stat = fill([sample], spec), path.stat()
    render(1, 2).save(path)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (stat.st_size, stat.st_mtime_ns)
    report = fill([sample], spec)
    (after,) = FeatureCache(report.folder, None).rows
    assert report.computed == 1
    assert after == report.samples[0] != first.samples[0]
    assert FeatureCache(report.folder, first.samples).rows == list(first.samples)


def test_a_list_limits_the_cache_to_its_samples(samples, spec, fill, tmp_path):
    """Moved to another split, given another label or generator, or deleted: cached, but listed no more."""
    folder = fill(samples[:6], spec).folder
    now = [samples[0]._replace(split="train"), samples[1]._replace(label=1), samples[2]._replace(generator="x")]
    report = fill([*now, samples[3]], spec)
    assert (report.copied, report.reused, report.computed) == (3, 1, 0)
    listed = FeatureCache(folder, report.samples)
    assert {row[:4] for row in listed.rows} == {sample[:4] for sample in (*now, samples[3])}
    assert len(FeatureCache(folder, None)) > len(listed)


def test_bad_files_are_skipped_counted_and_named(samples, spec, fill, tmp_path, caplog):
    bad = {"truncated.png": Path(samples[0].path).read_bytes()[:200], "text.jpg": b"not an image", "empty.png": b""}
    for name, data in bad.items():
        (tmp_path / name).write_bytes(data)
    extra = [Sample(str(tmp_path / name), 1, "gen_a", "val") for name in [*bad, "vanished.png"]]
    with caplog.at_level(logging.WARNING, logger="cinemae.train"):
        report = fill([*extra, *samples[:3]], spec)
    assert report.computed == 3
    assert [os.path.basename(path) for path, _ in report.skipped] == [*bad, "vanished.png"]
    for path, reason in report.skipped:
        assert path in reason
        assert reason in caplog.text
    assert len(FeatureCache(report.folder, None)) == 3


def test_two_shards_make_the_whole(samples, spec, fill, tmp_path):
    for i in range(2):
        report = fill(samples, spec, shard=(i, 2), root=tmp_path / "parts")
        assert report.computed == 16
    whole = fill(samples, spec, root=tmp_path / "whole")
    assert identities(report.folder) == identities(whole.folder)


def test_robust_views_are_seeded_by_content(create, samples, fill, tmp_path):
    spec = create(MethodConfig(mask_sets=1), augment="robust", views=3)
    one = FeatureCache(fill(samples[:5], spec).folder, None)
    other = FeatureCache(fill(samples[:5][::-1], spec, root=tmp_path / "again", batch_size=4).folder, None)
    assert [row.identity for row in one.rows] == [row.identity for row in other.rows]
    assert [row.view for row in one.rows] == [0, 1, 2] * 5
    features, again = (features_of(cache, MethodConfig())[0] for cache in (one, other))
    np.testing.assert_allclose(features, again, rtol=FRESH_TOLERANCE, atol=FRESH_TOLERANCE)
    assert np.abs(features[0] - features[1]).max() > 10 * FRESH_TOLERANCE
    changed = robust(Image.open(samples[0].path).convert("RGB"), np.random.default_rng(0))
    assert changed.size != Image.open(samples[0].path).size


def test_unknown_augmentation_is_a_usage_error(create, samples, fill):
    with pytest.raises(UsageError, match="robust"):
        fill(samples, create(MethodConfig(), augment="blurry"))


def test_a_damaged_shard_is_extracted_again(samples, spec, fill, caplog):
    folder = fill(samples[:8], spec, shard_rows=4).folder
    victim = min(folder.glob("*.safetensors"))
    victim.write_bytes(victim.read_bytes()[:100])
    with caplog.at_level(logging.WARNING, logger="cinemae.train"):
        report = fill(samples[:8], spec)
    assert victim.name in caplog.text
    assert report.computed == 4
    assert len(FeatureCache(folder, None)) == 8


def test_open_cache_lists_what_is_there_when_it_cannot_choose(samples, spec, create, fill, tmp_path):
    root = tmp_path / "cache"
    with pytest.raises(UsageError, match="no feature cache"):
        open_cache(root)
    fill(samples[:2], spec)
    assert open_cache(root).spec == spec
    assert open_cache(root / spec.key).spec == spec
    other = create(MethodConfig(mask_sets=1), augment="robust")
    fill(samples[:2], other)
    with pytest.raises(UsageError, match="several caches") as refused:
        open_cache(root)
    assert spec.key in str(refused.value)
    assert other.key in str(refused.value)
    assert open_cache(root, augment="robust").spec == other
    fill([samples[0]._replace(split="train")], other)
    assert open_cache(root, split="train").spec == other
    assert open_cache(root, key=spec.key[:6]).spec == spec
    with pytest.raises(UsageError, match="no cache"):
        open_cache(root, key="zzz")
    (root / spec.key / SPEC_FILE).write_text("{}")
    assert open_cache(root).spec == other, "a folder of another release is passed over"
    with pytest.raises(UsageError, match="damaged"):
        read_spec(root / spec.key)
