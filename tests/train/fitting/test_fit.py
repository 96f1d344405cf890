"""Fitting: every head learns, mask sets are drawn, the held-out share is clean, and the manifest says what happened."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from types import SimpleNamespace
from typing import get_args

import numpy as np
import pytest
import torch
from cinemae.runtime.core.errors import UsageError
from cinemae.runtime.core.manifest import Fusion, HeadConfig, MethodConfig
from cinemae.runtime.engines.parts.lcas import score_runs
from cinemae.runtime.images.preprocess import load_image
from cinemae.train.data.sample import Sample
from cinemae.train.data.samples import read_samples
from cinemae.train.evaluation.evaluate import score
from cinemae.train.features.cache import FeatureCache
from cinemae.train.features.cache_spec import CacheSpec
from cinemae.train.features.extract import extract
from cinemae.train.fitting.checkpoint import load_head
from cinemae.train.fitting.checkpoint_folder import read_metrics
from cinemae.train.fitting.examples import Examples, is_held_out, read_examples, source_weights, training_rows
from cinemae.train.fitting.fit import fit
from cinemae.train.fitting.fit_config import FitConfig
from cinemae.train.fitting.head_training import epoch_draws, train_head
from cinemae.train.model.head import Head
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

DIM, SETS = 12, 3
CONFIG = FitConfig(epochs=6, lr=1e-2, batch_size=32)
SMALL = HeadConfig(agg_hidden=(8, 12), cls_hidden=10)


def examples(n: int, seed: int) -> Examples:
    """Half of the signal is in f_global, half in the statistics, which are large and far from zero."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, n)
    f_global = rng.normal(size=(n, DIM))
    f_global[:, 0] += 2.0 * labels
    stats = 100 + rng.normal(size=(n, SETS, 3)) * 5 + labels[:, None, None] * 8
    return Examples(*(torch.from_numpy(a.astype(np.float32)) for a in (f_global, stats, labels)))


TRAIN, HELD = examples(400, 0), examples(200, 1)
HELD_ROWS = replace(HELD, rows=tuple(Sample("x", int(label), "a", "train") for label in HELD.labels))
LOGISTIC = HeadConfig(kind="logistic")
VARIANTS = [HeadConfig(fusion=f, agg_hidden=(8, 12), cls_hidden=10) for f in get_args(Fusion)] + [
    HeadConfig(statistics=chosen, agg_hidden=(8, 12), cls_hidden=10)
    for n in range(3)
    for chosen in combinations(("s1", "s2", "s3"), n)
]


@pytest.mark.parametrize("head", VARIANTS, ids=lambda h: f"{h.fusion}-{'+'.join(h.statistics) or 'none'}")
def test_every_variant_learns(head):
    result = train_head(TRAIN, HELD, CONFIG, head, quiet=True)
    assert roc_auc_score(HELD.labels, HELD.logits(result.head)) > 0.85
    assert result.curve[-1]["train_loss"] < result.curve[0]["train_loss"]


def test_f_global_may_start_standardised_feature_by_feature():
    pattern = torch.tensor([1.0, -1.0]).repeat(DIM // 2)  # the same in all images; what differs is a thousandth of it
    train, held = (replace(part, f_global=pattern + 1e-3 * part.f_global) for part in (TRAIN, HELD))
    head = Head(DIM, SMALL)
    head.start_standardised(train.f_global)
    levelled = head.norm_global(train.f_global).detach().numpy()
    np.testing.assert_allclose(levelled.mean(0), 0, atol=1e-2)  # float32 of a thousandth
    np.testing.assert_allclose(levelled.std(0), 1, atol=1e-2)
    scores = {}
    for on in (False, True):
        config = replace(CONFIG, epochs=5, lr=1e-3, standardize_global=on)
        head = train_head(train, held, config, HeadConfig(statistics=()), quiet=True).head
        scores[on] = roc_auc_score(held.labels, held.logits(head))
    assert scores[True] > scores[False] + 0.1, "a feature that varies little is learned"


def test_what_hardly_varies_is_not_enlarged():
    f_global, stats = TRAIN.f_global.clone(), TRAIN.deployed.clone()
    f_global[:, 1], stats[:, 2] = 1e-5 * f_global[:, 1], 50 + 1e-4 * stats[:, 2]  # both are rounding
    head = Head(DIM, SMALL)
    head.start_standardised(f_global)
    head.fit_standardisation(stats)
    others = torch.arange(DIM) != 1
    np.testing.assert_allclose(head.norm_global(f_global).detach()[:, others].std(0), 1, atol=1e-2)
    weight = head.norm_global.weight.detach()
    assert weight[1] <= 101 * weight.median()
    assert torch.equal(head.stat_std > 0.1, torch.ones(3, dtype=torch.bool))


def test_the_best_epoch_has_the_lowest_held_out_loss_and_the_last_is_kept():
    result = train_head(TRAIN, HELD, replace(CONFIG, epochs=30, lr=3e-2), SMALL, quiet=True)
    losses = [point["held_out_loss"] for point in result.curve]
    assert result.best_epoch == 1 + int(np.argmin(losses))
    logits = torch.from_numpy(HELD.logits(result.head))
    loss = float(torch.nn.functional.binary_cross_entropy_with_logits(logits, HELD.labels))
    assert loss == pytest.approx(min(losses), abs=1e-6)
    assert result.best_epoch < 30, "at this rate it overfits; otherwise the test shows nothing"
    assert not torch.equal(result.last["mlp_cls.0.weight"], result.head.state_dict()["mlp_cls.0.weight"])


def test_a_logistic_head_is_scikit_learns_on_standardised_features_and_has_no_seed():
    result = train_head(TRAIN, HELD, CONFIG, LOGISTIC, quiet=True)
    again = train_head(TRAIN, HELD, replace(CONFIG, seed=1, epochs=1, lr=1.0), LOGISTIC, quiet=True)
    assert all(torch.equal(value, again.last[name]) for name, value in result.last.items())
    features = [np.hstack([part.f_global.numpy(), np.log(part.deployed.numpy())]) for part in (TRAIN, HELD)]
    model = make_pipeline(StandardScaler(), LogisticRegression(C=1.0, tol=1e-8)).fit(features[0], TRAIN.labels)
    np.testing.assert_allclose(HELD.logits(result.head), model.decision_function(features[1]), atol=1e-3)
    (point,) = result.curve
    assert result.best_epoch == 0
    assert point["held_out_auc"] == roc_auc_score(HELD.labels, HELD.logits(result.head)) > 0.95


def test_a_logistic_head_balances_sources_where_the_recipe_does():
    """A source of 20 images that looks like the real ones counts as much as one of 180 that does not."""
    rows = tuple(Sample("x", int(label), "a" if i % 10 else "b", "train") for i, label in enumerate(TRAIN.labels))
    odd = torch.tensor([row.generator == "b" and row.label == 1 for row in rows])
    f_global, stats = TRAIN.f_global.clone(), TRAIN.stats.clone()
    f_global[odd, 0] -= 4
    stats[odd] -= 16
    part = replace(TRAIN, f_global=f_global, stats=stats, rows=rows)
    scores = [part.logits(train_head(part, HELD_ROWS, replace(CONFIG, balance_sources=on), LOGISTIC, quiet=True).head)
              for on in (False, True)]
    assert scores[1][odd].mean() > scores[0][odd].mean() + 1


def test_a_rate_at_which_the_head_diverges_is_one_sentence():
    with pytest.raises(UsageError, match="not finite after epoch 1: use a smaller --lr than 1e"):
        train_head(TRAIN, HELD, replace(CONFIG, lr=1e30), SMALL, quiet=True)


def test_the_same_seed_gives_the_same_head():
    one, other = (train_head(TRAIN, HELD, replace(CONFIG, epochs=2), SMALL, quiet=True) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(one.last.values(), other.last.values(), strict=True))
    third = train_head(TRAIN, HELD, replace(CONFIG, epochs=2, seed=1), SMALL, quiet=True)
    assert not torch.equal(one.last["mlp_cls.0.weight"], third.last["mlp_cls.0.weight"])


def test_an_epoch_shows_every_image_once_with_one_of_its_mask_sets():
    generator = torch.Generator().manual_seed(0)
    draws = [epoch_draws(100, SETS, generator) for _ in range(2)]
    for order, drawn in draws:
        assert sorted(order.tolist()) == list(range(100))
        assert set(drawn.tolist()) == set(range(SETS))
    assert not torch.equal(draws[0][1], draws[1][1]), "the next epoch draws anew"


def test_weights_give_classes_and_their_sources_the_same_total():
    labels, sources = np.array([0, 0, 0, 1, 1, 1]), np.array(["a", "a", "b", "a", "c", "c"])
    np.testing.assert_allclose(source_weights(labels, sources), [0.75, 0.75, 1.5, 1.5, 0.75, 0.75])


@pytest.fixture(scope="module")
def cache(image_tree, tiny_detector, tiny_manifest, tmp_path_factory):
    spec = CacheSpec.create(tiny_manifest.backbone, tiny_manifest.preprocess, MethodConfig(mask_sets=2))
    root = tmp_path_factory.mktemp("cache")
    report = extract(read_samples(image_tree), lambda: tiny_detector.mae, spec, root, quiet=True)
    return FeatureCache(report.folder, report.samples)


RECIPE = FitConfig(epochs=20, lr=1e-2, held_out=0.3)


def test_training_and_held_out_rows_are_disjoint_and_of_the_training_generator(cache):
    train, held = training_rows(cache, RECIPE)
    assert {(cache.rows[i].generator, cache.rows[i].split) for i in (*train, *held)} == {("gen_a", "train")}
    assert len(train) + len(held) == 48
    assert not set(train) & set(held)
    assert not {cache.rows[i].content for i in train} & {cache.rows[i].content for i in held}


def test_the_held_out_share_is_decided_by_content_alone():
    names = [f"{i:064x}" for i in range(5000)]
    held = [is_held_out(name, 0.1, 0) for name in names]
    assert 0.08 < np.mean(held) < 0.12
    assert held == [is_held_out(name, 0.1, 0) for name in names]
    more = [is_held_out(name, 0.3, 0) for name in names]
    assert all(b for a, b in zip(held, more, strict=True) if a), "a larger share holds the smaller"
    assert held != [is_held_out(name, 0.1, 1) for name in names]


@pytest.mark.parametrize(
    "change", [{"split": "test"}, {"generators": ("gen_x",)}, {"held_out": 1e-9}, {"generators": ("gen_b",)}]
)
def test_what_cannot_be_trained_on_is_refused(cache, change):
    with pytest.raises(UsageError):
        training_rows(cache, replace(RECIPE, **change))


def reference_maps(detector, cache, rows, method):
    """LCAS of the rows' files by the numpy reference, under the deployed masks."""
    preprocess, visible = cache.spec.preprocess, cache.spec.mask_sets()[0]
    images = np.stack([load_image(cache.rows[i].path, preprocess).pixels for i in rows])
    pixels = detector.normalise(detector.pixels(torch.from_numpy(images)))
    with torch.inference_mode():
        runs = [detector.mae.reconstruct(pixels, torch.from_numpy(seen)).double().numpy() for seen in visible]
    return score_runs(images, runs, visible, 16, method, preprocess)[1]


def test_the_manifest_says_what_was_trained(cache, tmp_path, monkeypatch, tiny_detector):
    monkeypatch.chdir(tmp_path)
    method = MethodConfig(mask_sets=2, lambda_=0.3)
    folder = fit(cache, tmp_path / "out", method, SMALL, RECIPE, name="mine", quiet=True)
    assert not (tmp_path / "runs").exists(), "only the command moves runs/last"
    loaded = load_head(folder)
    manifest = loaded.manifest
    train, held = training_rows(cache, RECIPE)
    (examples,) = read_examples(cache, train, method)
    for index, name in enumerate(("s1", "s2", "s3")):
        expected = np.percentile(examples.deployed[:, index], [1, 99])
        assert (manifest.stat_ranges[name].low, manifest.stat_ranges[name].high) == pytest.approx(tuple(expected))
    maps = reference_maps(tiny_detector, cache, train, method)
    scale = np.percentile(maps[np.isfinite(maps)], [1, 99])
    np.testing.assert_allclose([manifest.heatmap_range.low, manifest.heatmap_range.high], scale, rtol=1e-3)
    assert manifest.method.lambda_ == 0.3
    assert manifest.licence == cache.spec.backbone.licence == "Apache-2.0"
    assert manifest.training.generators == ("gen_a",)
    assert manifest.training.n_ai + manifest.training.n_real == len(train)
    words = "held-out images of the sources trained on; other sources were not measured"
    assert manifest.calibration.fitted_on == f"{len(held)} {words}"
    assert "batch 32, Adam, lr 0.01" in manifest.training.note
    assert {"torch", "numpy", "python"} <= set(manifest.tools)
    assert np.array_equal(loaded.mask_sets, cache.spec.mask_sets())
    recorded = read_metrics(folder)["fit"]
    assert len(recorded["curve"]) == 20
    assert recorded["cache"] == cache.spec.key


def test_views_are_not_images(image_tree, tiny_detector, tiny_manifest, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    backbone, method = tiny_manifest.backbone, MethodConfig(mask_sets=1, k=1)
    spec = CacheSpec.create(backbone, tiny_manifest.preprocess, method, augment="robust", views=2)
    samples = read_samples(image_tree, split="train")
    report = extract(samples, lambda: tiny_detector.mae, spec, tmp_path, quiet=True)
    cache = FeatureCache(report.folder, report.samples)
    assert len(cache) == 2 * len(samples)
    manifest = load_head(fit(cache, tmp_path / "out", spec.method(), SMALL, RECIPE, quiet=True)).manifest
    training = manifest.training.n_ai + manifest.training.n_real
    assert training + manifest.metrics["held_out"]["images"] == len(samples)
    assert manifest.calibration.n_ai + manifest.calibration.n_real == manifest.metrics["held_out"]["images"]


def test_scores_that_are_not_finite_are_refused_by_name(cache):
    head = Head(32, SMALL).eval()
    torch.nn.init.constant_(head.mlp_cls[2].bias, float("nan"))
    loaded = SimpleNamespace(folder="x", head=head, manifest=SimpleNamespace(method=cache.spec.method()))
    with pytest.raises(UsageError, match=f"{len(cache)} images are not finite, the first {cache.rows[0].path}"):
        score(loaded, cache, cache.select())


def test_fewer_runs_come_from_the_same_cache(cache, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    loaded = load_head(fit(cache, tmp_path / "one", cache.spec.method(1), SMALL, RECIPE, quiet=True))
    assert loaded.mask_sets.shape[1] == 1
    assert np.array_equal(loaded.manifest.masks.array(), cache.spec.mask_sets()[0, :1])
