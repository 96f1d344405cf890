"""What the studies share: roles of generators, selection, figures, resuming; NLL and freezing on their own."""

from __future__ import annotations

from dataclasses import replace
from threading import Barrier

import numpy as np
import pytest
import torch
from cinemae.runtime.core.errors import UsageError
from cinemae.runtime.images.preprocess import load_image
from cinemae.train.data.sample import Sample
from cinemae.train.data.skipped import SHOWN_SKIPS
from cinemae.train.data.stored import read_stored
from cinemae.train.fitting.head_training import train_head
from cinemae.train.model.lcas import channel_constants
from cinemae.train.model.mae import patchify
from cinemae.train.reporting.result import StudyResult, once
from cinemae.train.reporting.tables import Table
from cinemae.train.studies import controls, freezing
from cinemae.train.studies.choices import GROUPS, choose_studies, choose_training
from cinemae.train.studies.comparison import comparison, encoder_variants, fit_scores, head_inputs
from cinemae.train.studies.freezing import STRATEGIES, accuracies, train_end_to_end, unfreeze
from cinemae.train.studies.heatmaps import choose
from cinemae.train.studies.image_batches import image_batches
from cinemae.train.studies.nll import image_nll
from cinemae.train.studies.paper import STUDIES
from cinemae.train.weights.key_layouts import is_decoder
from timm_files import PLAIN, write_timm

NLL_TOLERANCE = 2e-4
"""The cache keeps sums in [0, 1] pixels in float32; the direct path squares normalised ones."""

END_TO_END_TOLERANCE = 1e-2
"""Fresh against cached features in float32: differences of 1e-5 grow over some twenty steps of Adam."""


def test_macc_is_plain_and_the_balanced_accuracy_has_its_own_name(experiment):
    wrong_ai = np.full(len(experiment.eval_rows), -1.0)
    keep = (experiment.eval_scores(wrong_ai).labels == 0) | (np.arange(len(wrong_ai)) % 3 == 0)
    fewer = replace(experiment)
    fewer.__dict__["eval_rows"] = experiment.eval_rows[keep]
    variants = {"a": [wrong_ai[keep]]}
    row = compared(fewer, variants)[0]
    assert row["mAcc"] > row["balanced"] == 0.5
    assert row["mAcc"] == pytest.approx(accuracies(fewer, variants).rows[0][2])


def compared(experiment, variants):
    """The rows of a comparison as dicts."""
    table = comparison(experiment, variants, name="x", title="X", what="what")[0]
    return [dict(zip(table.columns, row, strict=True)) for row in table.rows]


def test_once_repeats_an_interrupted_study(tmp_path):
    made = []

    def make() -> StudyResult:
        made.append(1)
        return StudyResult("text", (Table("t", "T", ("a",), ((1,),)),))

    for options, times in (({"n": 1}, 1), ({"n": 1}, 1), ({"n": 2}, 2)):
        result = once(tmp_path / "x", "X", options, make)
        assert (result.name, result.title, len(made)) == ("x", "X", times)
    (tmp_path / "x" / "study.json").unlink()
    once(tmp_path / "x", "X", {"n": 2}, make)
    assert len(made) == 3


def test_nll_from_the_cache_is_the_definition(experiment):
    """Half the mean squared error over masked pixels in normalised space, from an own forward in float64."""
    mae = experiment.load().double().eval()
    rows = experiment.eval_rows[:4]
    preprocess = experiment.cache.spec.preprocess
    pixels = np.stack([load_image(experiment.cache.rows[i].path, preprocess).pixels for i in rows])
    unit = torch.from_numpy(pixels).permute(0, 3, 1, 2).double() / 255
    mean, std = channel_constants(unit)
    inputs = (unit - mean[:, None, None]) / std[:, None, None]
    target = patchify(inputs, mae.config.patch_size)
    runs = []
    with torch.inference_mode():
        for keep in torch.from_numpy(experiment.cache.spec.mask_sets()[0]):
            hidden = [i for i in range(mae.config.n_patches) if i not in keep.tolist()]
            runs.append((mae.reconstruct(inputs, keep)[:, hidden] - target[:, hidden]).square().mean(dim=(1, 2)) / 2)
    assert image_nll(experiment.cache, rows) == pytest.approx(torch.stack(runs).mean(0).numpy(), rel=NLL_TOLERANCE)


def test_arms_of_the_freezing_ablation_are_selected_alike(experiment, monkeypatch):
    """Trained end to end with nothing unfrozen, an arm is the head that trains on the cache: same initial head, same
    order, same masks drawn, same epoch chosen."""
    fast = replace(experiment, fit=replace(experiment.fit, epochs=6, lr=0.02, batch_size=8), seeds=1).thinned
    (inputs,) = head_inputs(fast, fast.method)
    expected = train_head(inputs.train, inputs.held, fast.fit, fast.head, quiet=True)
    assert expected.best_epoch < 6, "the last epoch is not the best one"
    read = []
    monkeypatch.setattr(freezing, "image_batches", lambda one, rows, *size: (
        read.append(list(rows)) or image_batches(one, rows, *size)))
    scores = train_end_to_end(fast, inputs, fast.fit.seed, (False, False))
    assert read.count(list(inputs.test.rows)) == 1, "test images are scored at the end alone"
    (cached,) = fit_scores(fast, inputs)
    np.testing.assert_allclose(scores, cached, atol=END_TO_END_TOLERANCE)


def test_probes_decode_in_as_many_threads_as_workers(experiment, monkeypatch):
    together, decode = Barrier(3, timeout=60), controls.decode
    monkeypatch.setattr(controls, "decode", lambda *a, **named: together.wait() >= 0 and decode(*a, **named))
    found = controls.low_level(replace(experiment, workers=3), experiment.eval_rows[:6])
    assert all(np.isfinite(values).all() for values in found.values())


@pytest.mark.parametrize("read", [
    lambda experiment, rows: list(image_batches(experiment, [experiment.cache.rows[i] for i in rows])),
    lambda experiment, rows: controls.low_level(experiment, rows),
])
def test_files_that_vanish_are_named_once_in_all_passes_and_the_first_alone(read, experiment, monkeypatch, caplog):
    rows = np.arange(SHOWN_SKIPS + 4)
    variants = [fresh := replace(experiment, skipped=[]), replace(fresh, seeds=1)]
    assert all(len(one.cache.rows) > len(rows) for one in variants), "features are there before the files vanish"
    monkeypatch.setattr(Sample, "read", lambda row: read_stored(f"{row.path}.gone"))
    for one in variants:
        read(one, rows)
    assert len(fresh.skipped) == SHOWN_SKIPS + 1
    assert len(caplog.messages) == len(set(caplog.messages)) == SHOWN_SKIPS + 1
    assert caplog.messages[-1] == "skipped: further files are not named"


def test_unfreezing_trains_exactly_the_named_parts(experiment):
    mae = experiment.load()
    for encoder, decoder in STRATEGIES.values():
        unfreeze(mae, encoder, decoder)
        for key, parameter in mae.named_parameters():
            wanted = (decoder if is_decoder(key) else encoder) and not key.endswith("pos_embed")
            assert parameter.requires_grad == wanted, key


def test_studies_read_their_own_samples_alone(experiment, samples):
    """An image that another run cached as training data is test data here, and nothing else."""
    first, *others = [s for s in samples if (s.generator, s.split) == ("sd", "train")][:8]
    before = replace(experiment, samples=[first, *others]).identity
    moved = replace(experiment, samples=[first._replace(split="test"), *others[:3]])
    assert {(row.path, row.split) for row in moved.cache.rows} == {(s.path, s.split) for s in moved.samples}
    assert moved.identity != before


def test_report_only_generators_stand_last_and_apart(experiment):
    assert experiment.generators == ["sd", "glide", "BigGAN"]
    tested = experiment.eval_scores(experiment.eval_rows)
    perfect = np.where(tested.labels == 1, 1.0, -1.0)
    wrong = np.where(tested.sources == "BigGAN", -perfect, perfect)
    right, row = compared(experiment, {"a": [perfect], "b": [wrong]})
    assert (row["AUC report-only"], row["AUC unseen"], row["AUC sd"], row["AUC glide"]) == (0, 1, 1, 1)
    assert row["AUC BigGAN †"] == 0
    for one in (right, row):
        assert [one[name] for name in ("mAcc", "real", "AI", "balanced", "mAUC")] == [1] * 5, "in no mean"
    assert accuracies(experiment, {"b": [wrong]}).rows[0][2:] == (1, 1, 1, 0)


def test_figures_beside_the_papers_are_over_the_generators_that_the_paper_has_too(experiment):
    """Of those tested, GLIDE is in GenImage; BigGAN is too, but is only reported."""
    tested = experiment.eval_scores(experiment.eval_rows)
    perfect = np.where(tested.labels == 1, 1.0, -1.0)
    variants = {"a": [perfect], "b": [np.where(tested.sources == "glide", -perfect, perfect)]}
    whole, common = comparison(experiment, variants, name="x", title="X", what="what")
    assert common.name == "x_common"
    assert [(row[2], row[3]) for row in whole.rows] == [(1, None), (0.5, -0.5)]
    assert [(row[2], row[3]) for row in common.rows] == [(1, None), (0, -1)]
    assert common.columns[-1] == "AUC glide"
    alike = replace(experiment, report_only=("sd", "BigGAN"))
    assert len(comparison(alike, variants, name="x", title="X", what="what")) == 1


def test_training_generator_is_the_papers_or_asked_for():
    def sample(generator: str, split: str = "train") -> Sample:
        return Sample("x", 1, generator, split)

    several = [sample("ADM"), sample("stable_diffusion_v_1_4"), sample("wukong", "val")]
    for samples, wanted, chosen in (
        (several, None, ("stable_diffusion_v_1_4",)), (several, ["adm"], ("ADM",)), (several[:1], None, ("ADM",)),
        (several, ["SD v1.4"], ("stable_diffusion_v_1_4",)), (several, ["all"], ("ADM", "stable_diffusion_v_1_4")),
        ([sample("ADM"), sample("Stable-Diffusion-1.4")], None, ("Stable-Diffusion-1.4",)),
        ([sample("ProGAN"), sample("progan"), sample("ADM")], None, ("ProGAN", "progan")),
    ):
        assert choose_training(samples, wanted) == chosen
    for samples, wanted in ((several, ["wukong"]), ([sample("ADM"), sample("glide")], None), (several[2:], None)):
        with pytest.raises(UsageError):
            choose_training(samples, wanted)


def test_clearest_cases_first():
    labels, scores = np.array([1, 1, 1, 0, 0]), np.array([0.5, 3.0, -2.0, 1.0, -4.0])
    assert choose(labels, scores, 1, True, 5).tolist() == [1, 0]
    assert choose(labels, scores, 1, False, 5).tolist() == [2]
    assert choose(labels, scores, 0, True, 1).tolist() == [3]


def test_parts_are_checked():
    assert choose_studies("ablation", "lambda, fusion") == ["lambda", "fusion"]
    assert choose_studies("ablation", "cached") == ["statistics", "lambda", "pixels", "fusion"]
    assert all({*choose_studies(kind, "all")} < {*STUDIES} for kind in GROUPS)
    with pytest.raises(UsageError, match="'colour'"):
        choose_studies("analysis", "colour")


@pytest.mark.slow
def test_a_global_encoder_stands_beside_the_detector_in_controls_and_fusion(experiment, tmp_path):
    source = write_timm(tmp_path / "w.safetensors", PLAIN)
    one = replace(experiment, budget=replace(experiment.budget, global_encoder=source))
    assert one.beside.info.global_encoder.name == PLAIN
    assert one.info == experiment.info, "every other row and study stays on the backbone"
    for study, first in (("controls", "CINEMAE"), ("fusion", "early add")):
        table = STUDIES[study].make(one, tmp_path).tables[0]
        names = [row[0] for row in table.rows]
        assert names[0] == first
        assert {f"{PLAIN} alone", f"{PLAIN} + LCAS"} < set(names)
        rows = {row[0]: row[1:] for row in table.rows}
        assert rows[f"{PLAIN} alone"] != rows[f"{PLAIN} + LCAS"]
    assert encoder_variants(experiment) == {}
