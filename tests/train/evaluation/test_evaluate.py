"""Figures against their definitions, tables against the figures, and memory that does not grow."""

from __future__ import annotations

import csv
import io
import json
import math
import os
import subprocess
import sys

import numpy as np
import pytest
from cinemae.runtime.core.calibration import Calibration
from cinemae.runtime.core.manifest import Training
from cinemae.train.calibration.scores import Scores
from cinemae.train.evaluation.eval_files import eval_json, eval_table, write_eval
from cinemae.train.evaluation.evaluate import evaluate
from cinemae.train.evaluation.metrics import (
    ECE_BINS,
    _auc,
    binary_metrics,
    bins_of,
    calibration_error,
    probabilities,
    tpr_at_fpr,
)
from cinemae.train.fitting.checkpoint import LoadedHead
from sklearn.metrics import roc_auc_score

CALIBRATION = Calibration(a=2.0, b=-1.0, ai_from=0.8, real_below=0.5, false_alarm=0.05, miss=0.05)
EXACT = 1e-12


@pytest.fixture(scope="module")
def drawn():
    rng = np.random.default_rng(3)
    labels = rng.integers(0, 2, 300)
    return labels, rng.normal(labels * 1.2, 1.0)


def test_accuracies_count_both_thresholds_and_both_classes(drawn):
    labels, logits = drawn
    found = binary_metrics(labels, logits, CALIBRATION, resamples=0)
    said = logits > 0.8
    assert found.accuracy == pytest.approx((said == labels).mean(), abs=EXACT)
    assert found.real_accuracy == pytest.approx((~said[labels == 0]).mean(), abs=EXACT)
    assert found.fake_accuracy == pytest.approx(said[labels == 1].mean(), abs=EXACT)
    assert found.accuracy_05 == pytest.approx(((logits > 0) == labels).mean(), abs=EXACT)
    assert (found.n_ai, found.n_real) == (labels.sum(), (1 - labels).sum())
    assert found.ci == {}


def test_auc_agrees_with_the_rank_formula_of_the_bootstrap(drawn):
    labels, logits = drawn
    rounded = logits.round(1)  # ties
    assert _auc(rounded[labels == 0], rounded[labels == 1]) == pytest.approx(roc_auc_score(labels, rounded), abs=EXACT)


@pytest.mark.parametrize("fpr", [0.01, 0.05, 0.5])
def test_tpr_at_fpr_by_trying_every_threshold(drawn, fpr):
    labels, logits = drawn
    real, fake = logits[labels == 0], logits[labels == 1]
    best = max((fake > t).mean() for t in [*logits, -np.inf] if (real > t).mean() <= fpr)
    assert tpr_at_fpr(labels, logits, fpr) == pytest.approx(best, abs=EXACT)


def test_calibration_error_of_known_cases():
    labels = np.array([0, 0, 1, 1])
    assert calibration_error(labels, labels.astype(float)) == 0
    assert calibration_error(labels, 1.0 - labels) == 1
    assert calibration_error(labels, np.full(4, 0.5)) == 0
    assert calibration_error(labels, np.full(4, 0.9)) == pytest.approx(0.4)


def test_balanced_figures_do_not_follow_the_class_ratio(drawn):
    labels, logits = drawn
    times = np.where(labels == 0, 5, 1)
    one = binary_metrics(labels, logits, CALIBRATION, resamples=0)
    five = binary_metrics(labels.repeat(times), logits.repeat(times), CALIBRATION, resamples=0)
    assert abs(five.ap - one.ap) > 0.05
    assert abs(five.ece - one.ece) > 0.05
    assert five.ap_balanced == pytest.approx(one.ap_balanced, abs=EXACT)
    assert five.ece_balanced == pytest.approx(one.ece_balanced, abs=EXACT)


def test_macc_is_the_plain_mean_of_plain_accuracies_over_generators(tiny_manifest):
    """Three generators of unequal class ratios, one of them spelled as in training, with two splits."""
    labels = np.array([1, 1, 1, 0, 1, 0, 0, 0, 1, 0])
    logits = np.array([1.0, 1, -1, 1, -1, -1, -1, 1, 1, -1])
    generators = ("ProGAN",) * 4 + ("b",) * 4 + ("c",) * 2
    splits = ("val",) * 3 + ("test",) * 7
    training = Training(data="x", generators=("progan",), n_ai=1, n_real=1, augment="none", epochs=1, seed=0)
    manifest = tiny_manifest.model_copy(update={"calibration": CALIBRATION, "training": training})
    loaded = LoadedHead("x", None, manifest, None, None)
    scores = Scores(logits, labels, np.array(generators), np.array(splits))
    evaluation = evaluate(loaded, scores, resamples=0)
    assert evaluation.mean["accuracy_05"] == pytest.approx((2 / 4 + 2 / 4 + 1) / 3)
    assert evaluation.mean_unseen["accuracy_05"] == pytest.approx((2 / 4 + 1) / 2)
    assert [group.seen for group in evaluation.groups] == [True, True, False, False]


def test_probabilities_are_the_manifests(drawn):
    _, logits = drawn
    expected = [CALIBRATION.probability(float(z)) for z in logits[:20]]
    np.testing.assert_allclose(probabilities(logits[:20], CALIBRATION), expected, rtol=1e-12)


def test_intervals_hold_the_figure_and_shrink_with_data(drawn):
    labels, logits = drawn
    one = binary_metrics(labels, logits, CALIBRATION, resamples=300)
    four = binary_metrics(np.tile(labels, 4), np.tile(logits, 4), CALIBRATION, resamples=300)
    for name in ("accuracy", "accuracy_05", "auc"):
        low, high = one.ci[name].low, one.ci[name].high
        assert low < getattr(one, name) < high
        assert four.ci[name].high - four.ci[name].low < 0.7 * (high - low), "four times the data, half the width"
    again = binary_metrics(labels, logits, CALIBRATION, resamples=300)
    assert again == one, "seeded"


def test_one_class_alone_has_no_auc_and_no_intervals():
    found = binary_metrics(np.ones(5), np.arange(5.0), CALIBRATION)
    assert math.isnan(found.auc)
    assert math.isnan(found.real_accuracy)
    assert found.fake_accuracy == pytest.approx(4 / 5)
    assert found.ci == {}


@pytest.fixture(scope="module")
def written(drawn, tiny_manifest, tmp_path_factory):
    """An evaluation of two generators, one of them trained on, the other of one class; and the folder of its files."""
    labels, logits = drawn
    training = Training(data="x", generators=("gen_a",), n_ai=1, n_real=1, augment="none", epochs=1, seed=0)
    manifest = tiny_manifest.model_copy(update={"calibration": CALIBRATION, "training": training})
    sources = np.repeat(["gen_a", "gen_b"], [len(labels), 4])
    scores = Scores(np.r_[logits, np.arange(4.0)], np.r_[labels, [1] * 4], sources, np.full(len(sources), "val"))
    out = tmp_path_factory.mktemp("eval")
    found = evaluate(LoadedHead("runs/x", None, manifest, None, None), scores, resamples=50)
    paths = write_eval(found, scores, out)
    assert [path.name for path in paths] == ["eval.json", "eval.csv", "eval.md", "roc.png", "reliability.png"]
    return found, scores, out


def test_the_reliability_diagram_has_the_count_of_every_bin(written):
    found, scores, out = written
    counts = np.bincount(bins_of(probabilities(scores.logits, found.calibration)), minlength=ECE_BINS)
    svg = (out / "reliability.svg").read_text()
    assert counts.sum() == 304
    assert all(f">{count}</text>" in svg for count in counts)


def test_files_agree_and_absent_figures_are_absent(written):
    found, _, out = written
    data = json.loads((out / "eval.json").read_text(), parse_constant=pytest.fail)
    assert data == eval_json(found)
    assert data["groups"][1]["auc"] is None
    one, other = csv.DictReader(io.StringIO((out / "eval.csv").read_text()))
    assert float(one["auc"]) == pytest.approx(data["groups"][0]["auc"], abs=1e-6)
    assert other["auc"] == other["auc_low"] == ""
    shown, plain = eval_table(found), eval_table(found, intervals=False).plain()
    assert [row[0] for row in shown.rows] == ["gen_a *", "gen_b", "mean", "mean of unseen"]
    assert shown.text(shown.rows[1][shown.columns.index("AUC")]) == "–"
    assert f"{found.groups[0].metrics.auc:.3f} [" in shown.markdown()
    assert "[" not in plain


PEAK = """
import resource, sys
from pathlib import Path
from types import SimpleNamespace
import numpy as np
from cinemae.runtime.core.manifest import Backbone, BackboneConfig, HeadConfig, MethodConfig, Preprocess
from cinemae.train.data.sample import Sample
from cinemae.train.evaluation.evaluate import score
from cinemae.train.features.cache import FeatureCache
from cinemae.train.features.cache_spec import CacheSpec
from cinemae.train.features.cache_writer import CacheWriter
from cinemae.train.features.extract import extract
from cinemae.train.model.head import Head
from cinemae.train.model.mae import MaskedAutoencoder

root, rng = Path(sys.argv[1]), np.random.default_rng(0)
tensors = np.ones(8, np.float32), np.ones((1, 8, 147, 3, 3), np.float32), np.ones((1, 8, 2, 2), np.float32)


def spec_of(patch_size, k):
    config = BackboneConfig(patch_size=patch_size, encoder_dim=8, encoder_depth=1, encoder_heads=1,
                            decoder_dim=8, decoder_depth=1, decoder_heads=1)
    weights = Backbone(config=config, source="none", sha256="0" * 64, licence="none")
    return CacheSpec.create(weights, Preprocess(), MethodConfig(k=k, mask_sets=1))


for files, rows in ((80, 100), (880, 3200)):  # large patches: the forward costs nothing, the pixels are all there
    spec, samples = spec_of(56, 1), [Sample(str(root / f"{files}-{i}.ppm"), i % 2, "g", "val") for i in range(files)]
    for sample in samples:
        Path(sample.path).write_bytes(b"P6 16 16 255\\n" + rng.bytes(768))
    mae = MaskedAutoencoder(spec.backbone.config)
    assert extract(samples, lambda: mae, spec, root, batch_size=4, shard_rows=50, quiet=True).computed == files
    spec = spec_of(16, 8)
    writer = CacheWriter(root / str(rows), spec, shard_rows=50)
    for i in range(rows):
        writer.add(Sample(f"/{i}", i % 2, "g", "val", f"{i:064x}"), *tensors)
    writer.flush()
    cache = FeatureCache(writer.folder, None)
    loaded = SimpleNamespace(head=Head(8, HeadConfig()).eval(), manifest=SimpleNamespace(method=spec.method()))
    assert len(score(loaded, cache, cache.select()).logits) == rows
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""
PEAK_GROWTH_MB = 80
"""Ten and thirty times the images may cost this much more memory at the peak. Kept pixels would cost 120 MB, kept
features 130 MB; names and logits, which are kept, cost 2 MB; the rest is the allocator's scatter."""


@pytest.mark.slow
def test_memory_of_extract_and_eval_is_flat(tmp_path):
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", PEAK, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr
    few, many = map(int, done.stdout.split())
    assert many - few < PEAK_GROWTH_MB * 1024
