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
from cinemae.train.evaluation.evaluate import Means, evaluate
from cinemae.train.evaluation.intervals import share_interval
from cinemae.train.evaluation.metrics import (
    ECE_BINS,
    binary_metrics,
    bins_of,
    metrics_by_source,
    probabilities,
    tpr_at_fpr,
)
from cinemae.train.fitting.checkpoint import LoadedHead

CALIBRATION = Calibration(ai_from=0.8, real_below=0.5, false_alarm=0.05, miss=0.05)
EXACT = 1e-12


@pytest.fixture(scope="module")
def drawn():
    rng = np.random.default_rng(3)
    labels = rng.integers(0, 2, 300)
    return labels, rng.normal(labels * 1.2, 1.0)


def test_accuracies_count_decided_images_and_both_thresholds_and_classes(drawn):
    labels, logits = drawn
    found = binary_metrics(labels, logits, CALIBRATION)
    ai, decided = logits >= 0.8, (logits >= 0.8) | (logits < 0.5)
    assert found.coverage == pytest.approx(decided.mean(), abs=EXACT)
    assert found.accuracy == pytest.approx((ai == labels)[decided].mean(), abs=EXACT), "uncertain is not real"
    assert found.real_accuracy == pytest.approx((~ai)[decided & (labels == 0)].mean(), abs=EXACT)
    assert found.fake_accuracy == pytest.approx(ai[decided & (labels == 1)].mean(), abs=EXACT)
    assert found.accuracy_05 == pytest.approx(((logits > 0) == labels).mean(), abs=EXACT)
    assert (found.n_ai, found.n_real) == (labels.sum(), (1 - labels).sum())


def test_where_a_verdict_is_never_given_its_figures_do_not_exist(drawn):
    labels, logits = drawn
    never = CALIBRATION.model_copy(update={"ai_from": None, "real_below": None})
    found = binary_metrics(labels, logits, never)
    assert found.coverage == 0
    assert np.isnan([found.accuracy, found.real_accuracy, found.fake_accuracy]).all()
    assert "accuracy" not in found.ci
    found = binary_metrics(labels, logits, CALIBRATION.model_copy(update={"real_below": None}))
    assert math.isnan(found.real_accuracy)
    assert found.fake_accuracy == 1
    assert found.accuracy == pytest.approx(labels[logits >= 0.8].mean(), abs=EXACT)
    without = binary_metrics(labels, logits)
    assert np.isnan([without.coverage, without.accuracy, without.cllr, without.ece]).all()


@pytest.mark.parametrize("fpr", [0.01, 0.05, 0.5])
def test_tpr_at_fpr_by_trying_every_threshold(drawn, fpr):
    labels, logits = drawn
    real, fake = logits[labels == 0], logits[labels == 1]
    best = max((fake > t).mean() for t in [*logits, -np.inf] if (real > t).mean() <= fpr)
    assert tpr_at_fpr(labels, logits, fpr) == pytest.approx(best, abs=EXACT)


def test_balanced_figures_do_not_follow_the_class_ratio(drawn):
    labels, logits = (np.tile(part, 4) for part in drawn)
    times = np.where(labels == 0, 5, 1)
    one = binary_metrics(labels, logits, CALIBRATION)
    five = binary_metrics(labels.repeat(times), logits.repeat(times), CALIBRATION)
    assert abs(five.ap - one.ap) > 0.05
    for name in ("ap_balanced", "ece", "cllr", "cllr_min"):
        assert getattr(five, name) == pytest.approx(getattr(one, name), abs=EXACT)


def test_auc_against_own_and_against_all_real_images():
    """a and b bring their own real images, which are harder; c has none, d nothing else."""
    groups = {"a": ([0, 2, 4], [1, 3, 5]), "b": ([2, 3], [2, 3]), "c": ([], [1, 2.5]), "d": ([-9] * 6, [])}
    rows = [(name, label, z) for name, parts in groups.items() for label in (0, 1) for z in parts[label]]
    names, labels, logits = zip(*rows, strict=True)
    scores = Scores(np.float32(logits), np.array(labels), np.array(names))
    found = metrics_by_source(scores)
    real = scores.logits[scores.labels == 0]
    for name, (own, fake) in groups.items():
        for metric, against in (("auc", own), ("auc_all_real", real)):
            pairs = [(z > w) + 0.5 * (z == w) for z in fake for w in against]
            expected = pytest.approx(np.mean(pairs)) if pairs else pytest.approx(math.nan, nan_ok=True)
            assert getattr(found[name], metric) == expected, (name, metric)
    assert found["a"].auc_all_real > found["a"].auc
    assert "auc_all_real" in found["c"].ci


def test_a_class_with_a_single_image_has_figures_and_no_interval_of_its_auc():
    found = binary_metrics([0, 1, 1, 1], np.array([0.0, -1, 1, 2]), CALIBRATION)
    assert found.auc == pytest.approx(2 / 3)
    assert "auc" not in found.ci
    assert found.ci["accuracy_05"] == share_interval(2, 4)


def test_macc_is_the_plain_mean_of_plain_accuracies_over_generators(tiny_manifest):
    """Three generators of unequal class ratios, one of them spelled as in training, with two splits; real images alone,
    which a detector that calls everything real gets right, are in no mean."""
    labels = np.array([1, 1, 1, 0, 1, 0, 0, 0, 1, 0, 0, 0])
    logits = np.array([1.0, 1, -1, 1, -1, -1, -1, 1, 1, -1, -1, -1])
    generators = ("ProGAN",) * 4 + ("b",) * 4 + ("c",) * 2 + ("real alone",) * 2
    splits = ("val",) * 3 + ("test",) * 9
    training = Training(data="x", generators=("progan",), n_ai=1, n_real=1, augment="none", epochs=1, seed=0)
    manifest = tiny_manifest.model_copy(update={"calibration": CALIBRATION, "training": training})
    loaded = LoadedHead("x", None, manifest, None, None)
    scores = Scores(logits, labels, np.array(generators), np.array(splits))
    evaluation = evaluate(loaded, scores)
    assert evaluation.mean.generators == ("ProGAN", "b", "c")
    assert evaluation.mean["accuracy_05"] == pytest.approx((2 / 4 + 2 / 4 + 1) / 3)
    assert evaluation.mean_unseen["accuracy_05"] == pytest.approx((2 / 4 + 1) / 2)
    assert [group.seen for group in evaluation.groups] == [True, True, False, False, False]
    assert evaluation.whole.n_real == 7
    assert math.isnan(evaluation.whole.auc), "there are no own real images of all generators"


def test_the_interval_of_a_mean_is_wide_where_generators_differ(drawn):
    labels, logits = drawn
    figures = {f"g{i}": binary_metrics(labels, logits + 0.8 * i * labels, CALIBRATION) for i in range(4)}
    mean = Means.of(figures, resamples=500, seed=0)
    assert mean.ci["auc"].low < min(one.auc for one in figures.values())
    widths = [one.ci["auc"].high - one.ci["auc"].low for one in figures.values()]
    assert mean.ci["auc"].high - mean.ci["auc"].low > 2 * max(widths)
    assert mean == Means.of(figures, resamples=500, seed=0), "seeded"
    assert Means.of(figures, resamples=0, seed=0).ci == {}


def test_intervals_hold_the_figure_and_shrink_with_data(drawn):
    labels, logits = drawn
    one = binary_metrics(labels, logits, CALIBRATION)
    four = binary_metrics(np.tile(labels, 4), np.tile(logits, 4), CALIBRATION)
    for name in ("coverage", "accuracy", "real_accuracy", "accuracy_05", "auc", "auc_all_real"):
        low, high = one.ci[name].low, one.ci[name].high
        assert low < getattr(one, name) < high
        assert four.ci[name].high - four.ci[name].low < 0.7 * (high - low), "four times the data, half the width"


def test_one_class_alone_has_no_auc():
    found = binary_metrics(np.ones(5), np.arange(5.0), CALIBRATION)
    assert np.isnan([found.auc, found.auc_all_real, found.real_accuracy, found.cllr]).all()
    assert found.fake_accuracy == pytest.approx(4 / 5)
    assert "auc" not in found.ci


@pytest.fixture(scope="module")
def written(drawn, tiny_manifest, tmp_path_factory):
    """An evaluation of two generators, one of them trained on, the other of one class; and the folder of its files."""
    labels, logits = drawn
    training = Training(data="x", generators=("gen_a",), n_ai=1, n_real=1, augment="none", epochs=1, seed=0)
    manifest = tiny_manifest.model_copy(update={"calibration": CALIBRATION, "training": training})
    sources = np.repeat(["gen_a", "gen_b"], [len(labels), 4])
    scores = Scores(np.r_[logits, np.arange(4.0)], np.r_[labels, [1] * 4], sources, np.full(len(sources), "val"))
    out = tmp_path_factory.mktemp("eval")
    found = evaluate(LoadedHead("runs/x", None, manifest, None, None), scores)
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
    assert float(other["auc_all_real"]) == pytest.approx(found.groups[1].metrics.auc_all_real, abs=1e-6)
    assert data["mean"]["generators"] == ["gen_a"]
    shown, plain = eval_table(found), eval_table(found, brief=True).plain()
    assert [row[0] for row in shown.rows] == ["gen_a *", "gen_b", "all images", "mean (1)", "mean AUC all real (2)"]
    pooled = [found.groups[i].metrics.auc_all_real for i in range(2)]
    assert data["mean_all_real"]["values"] == {"auc_all_real": pytest.approx(np.mean(pooled))}
    assert "No generator has images of both classes" not in shown.note
    own, pooled = (shown.rows[1][shown.columns.index(name)] for name in ("AUC own real", "AUC all real"))
    assert shown.text(own) == "–"
    assert str(pooled).startswith(f"{found.groups[1].metrics.auc_all_real:.3f} [")
    assert f"{found.groups[0].metrics.auc:.3f} [" in shown.markdown()
    assert plain.splitlines()[0].split("  ")[-1].strip() == "AP"
    assert "[" not in plain


@pytest.mark.parametrize(
    ("label", "text"),
    [(None, "AUC all real ranks the AI images of each generator above all "), (0, "no AI images, so there is no AUC"),
     (1, "no real images, so there is no AUC")],
)
def test_where_no_generator_has_both_classes_the_auc_is_pooled_and_said_to_be(
    drawn, tiny_manifest, tmp_path, label, text
):
    labels, logits = drawn
    names = np.array(["coco", "flux"])[labels]
    kept = np.full(len(labels), True) if label is None else labels == label
    scores = Scores(logits[kept], labels[kept], names[kept], np.full(kept.sum(), "val"))
    found = evaluate(LoadedHead("runs/x", None, tiny_manifest, None, None), scores)
    write_eval(found, scores, tmp_path)
    rows = {row[0]: row for row in eval_table(found, brief=True).rows}
    assert [name for name in rows if "mean (" in name] == []
    assert text in (tmp_path / "eval.md").read_text()
    if label is None:
        pooled = rows["mean AUC all real (1)"][5]
        assert pooled == rows["flux"][5] == pytest.approx(binary_metrics(labels, logits).auc)
        assert f"flux val, all real: {pooled:.3f}" in (tmp_path / "roc.svg").read_text()


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
