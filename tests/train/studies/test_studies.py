"""Every study end to end on a tiny model and tiny pictures; NLL, selection and resuming on their own."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from cinemae.runtime.errors import UsageError
from cinemae.runtime.manifest import MethodConfig
from cinemae.train.data.samples import Sample, read_samples
from cinemae.train.fitting.head_training import FitConfig, train_head
from cinemae.train.model.lcas import channel_constants
from cinemae.train.model.mae import MaskedAutoencoder, patchify
from cinemae.train.studies.ablate import choose_parts
from cinemae.train.studies.ablate_freezing import STRATEGIES, train_end_to_end, unfreeze
from cinemae.train.studies.comparison import accuracies, comparison, figures, fit_scores, head_inputs
from cinemae.train.studies.experiment import choose_training
from cinemae.train.studies.heatmaps import choose
from cinemae.train.studies.nll import image_nll
from cinemae.train.studies.paper import Budget, Studies, paper
from cinemae.train.studies.report import write_html
from cinemae.train.studies.result import StudyResult, once
from cinemae.train.studies.study_data import StudyData
from cinemae.train.tables import Table
from cinemae.train.weights.layouts import is_decoder
from cinemae.train.weights.load import load_backbone
from cinemae.train.weights.save import save_backbone
from PIL import Image
from random_parameters import randomise

NLL_TOLERANCE = 2e-4
"""The cache keeps sums in [0, 1] pixels in float32; the direct path squares normalised ones."""

STUDIES = (
    "audit", "main", "controls", "balanced", "robustness", "statistics", "lambda", "pixels", "fusion", "training_sets",
    "masks",
    "freezing", "backbones", "nll", "decoder_curve", "spearman", "heatmaps",
)  # fmt: skip
END_TO_END_TOLERANCE = 1e-2
"""Fresh against cached features in float32: differences of 1e-5 grow over some twenty steps of Adam."""
PER_CLASS = 24
TESTED = 6


def picture(rng: np.random.Generator, ai: bool) -> Image.Image:
    """Coarse noise for AI, fine noise for real: a difference a head can learn from a few images."""
    side = 8 if ai else 32
    small = Image.fromarray(rng.integers(0, 256, (side, side, 3), dtype=np.uint8))
    return small.resize((72, 72), Image.Resampling.BICUBIC)


@pytest.fixture(scope="module")
def samples(tmp_path_factory) -> list[Sample]:
    root = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    counts = {
        ("sd", "train"): PER_CLASS,
        ("wukong", "train"): PER_CLASS,
        ("sd", "val"): TESTED,
        ("glide", "val"): TESTED,
        ("BigGAN", "val"): TESTED,
    }
    for (generator, split), count in counts.items():
        for label in ("ai", "nature"):
            folder = root / generator / split / label
            folder.mkdir(parents=True)
            for i in range(count):
                picture(rng, label == "ai").save(folder / f"{i}.png")
    return read_samples(root)


@pytest.fixture(scope="module")
def weights(tmp_path_factory, tiny_config) -> Path:
    mae = MaskedAutoencoder(tiny_config)
    randomise(mae)
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    save_backbone(mae, path)
    return path


@pytest.fixture(scope="module")
def other_weights(weights) -> Path:
    path = weights.with_name("other.safetensors")
    save_backbone(MaskedAutoencoder(load_backbone(str(weights)).mae.config), path)
    return path


@pytest.fixture(scope="module")
def data(samples, weights, tmp_path_factory) -> StudyData:
    torch.set_num_threads(1)
    fit = FitConfig(epochs=2, held_out=0.3, lr=1e-3)
    return StudyData.create(samples, str(weights), tmp_path_factory.mktemp("cache"), fit, train_on=["SD"],
                             report_only=["big-gan"],
                         seeds=1, limit=20, method=MethodConfig(mask_sets=2), quiet=True)  # fmt: skip


@pytest.fixture(scope="module")
def experiment(data):
    return data.experiment()


@pytest.fixture(scope="module")
def report(data, tmp_path_factory, weights, other_weights):
    """The whole protocol, once."""
    out = tmp_path_factory.mktemp("paper")
    budget = Budget(
        freezing_epochs=1, curve_steps=8, other_backbones=(str(weights),), audit_limit=4,
        freezing_backbones=(str(other_weights),),
    )  # fmt: skip
    patch = pytest.MonkeyPatch()
    patch.chdir(out)
    paper(data, budget, out)
    patch.undo()
    return out, budget


def table_of(out: Path, study: str, name: str) -> Table:
    return Table.read(out / study / f"{name}.json")


def test_paper_runs_everything_into_one_page(report):
    out, _ = report
    page = (out / "report.html").read_text()
    for study in STUDIES:
        assert f'<h2 id="{study}">' in page
    assert "http://" not in page
    assert "https://" not in page
    assert page.count("data:image/png;base64,") >= 18
    assert "# CINEMAE" in (out / "report.md").read_text()
    assert "data:image" not in (out / "report.md").read_text()
    assert (out / "main" / "checkpoint" / "manifest.json").exists()
    for name in ("main", "controls", "robustness", "spearman"):
        assert {p.suffix for p in (out / name).glob(f"{name}.*")} >= {".json", ".csv", ".md"}


def test_tables_have_the_papers_rows(report):
    out, _ = report
    values = [row[0] for row in table_of(out, "lambda", "lambda").rows]
    assert values == ["λ = 0", "λ = 0.1", "λ = 0.3", "λ = 0.5", "λ = 1"]
    assert len(table_of(out, "statistics", "statistics").rows) == 8
    assert len(table_of(out, "fusion", "fusion").rows) == 6
    assert len(table_of(out, "pixels", "pixels").rows) == 8
    arms = [f"{name}.safetensors, {strategy}" for name in ("tiny", "other") for strategy in STRATEGIES]
    assert [row[0] for row in table_of(out, "freezing", "freezing").rows] == arms
    accuracy = table_of(out, "freezing", "freezing_accuracy")
    assert [row[0] for row in accuracy.rows] == arms
    assert accuracy.columns == ("strategy", "mAcc", "sd", "glide", "BigGAN"), "Fig. 10: both backbones, each generator"
    for row in accuracy.rows:
        assert row[1] == pytest.approx(np.mean(row[2:]))
    assert (out / "freezing" / "freezing_accuracy.png").exists()
    sets = table_of(out, "training", "training_sets").rows
    assert [row[:2] for row in sets[:1] + sets[-1:]] == [("sd", "sd"), ("all generators", "mean (mAcc)")]
    assert len(table_of(out, "masks", "masks").rows) == 8
    conditions = [row[0] for row in table_of(out, "robustness", "robustness").rows]
    assert conditions[:5] == ["clean", "jpeg_95", "jpeg_90", "jpeg_75", "jpeg_50"]
    assert len(conditions) == 18
    assert table_of(out, "curve", "decoder_curve").columns[:3] == ("images", "step 0", "step 1")


def test_figures_are_in_range_and_depend_on_the_variant(report):
    out, _ = report
    for study, name in (("lambda", "lambda_statistics"), ("controls", "controls"), ("masks", "masks")):
        table = table_of(out, study, name)
        values = np.array([[v for v in row if isinstance(v, float)] for row in table.rows])
        assert ((values >= 0) & (values <= 1)).all()
        assert len({tuple(row) for row in values.tolist()}) > 1
    accuracy = {row[0]: row[1] for row in table_of(out, "controls", "controls").rows}
    assert accuracy["spectrum probe"] > 0.9  # coarse against fine noise is what a spectrum tells best


def test_decoder_curve_falls(report):
    out, _ = report
    for row in table_of(out, "curve", "decoder_curve").rows:
        assert row[-1] < row[1]


def test_a_second_run_computes_nothing(report, data, monkeypatch):
    out, budget = report
    monkeypatch.chdir(out)
    before = {path: path.stat().st_mtime_ns for path in out.rglob("study.json")}

    def refuse(*_: object) -> None:
        raise AssertionError("a finished study ran again")

    for name in ("audit", "main_table", "controls", "freezing", "decoder_curve", "robustness"):
        monkeypatch.setattr(f"cinemae.train.studies.paper.{name}", refuse)
    paper(data, budget, out)
    assert {path: path.stat().st_mtime_ns for path in out.rglob("study.json")} == before


def test_other_options_run_again(report, data):
    out, _ = report
    old = table_of(out, "curve", "decoder_curve").columns
    Studies(data, Budget(curve_steps=16), out).run(["curve"])
    assert table_of(out, "curve", "decoder_curve").columns != old


def test_a_study_that_cannot_run_is_a_row_and_the_others_run(data, tmp_path, monkeypatch):
    def fail(*_: object) -> None:
        raise RuntimeError("out of memory")

    monkeypatch.setattr("cinemae.train.studies.paper.nll_study", fail)
    alone = replace(data, samples=tuple(s for s in data.samples if s.generator != "wukong"))
    studies = Studies(alone, Budget(audit_limit=4), tmp_path)
    (failed, _), *others = studies.run(["audit", "training", "nll"])
    assert [result.name for result, _ in others] == ["audit"]
    (table,) = failed.tables
    assert [row[0] for row in table.rows] == ["training", "nll"]
    assert "no other generator has a training split" in table.rows[0][1]
    assert table.rows[1][1] == "RuntimeError: out of memory"
    write_html(tmp_path / "report.html", "CINEMAE", studies.facts(), [(failed, tmp_path), *others])
    assert "<td>RuntimeError: out of memory</td>" in (tmp_path / "report.html").read_text()
    with pytest.raises(UsageError, match="no other generator"):
        studies.run(["training"])


def test_macc_is_plain_and_the_balanced_accuracy_has_its_own_name(experiment):
    labels, scores = np.array([1, 0, 0, 0]), np.array([-1.0, -1.0, -1.0, -1.0])
    one = figures(labels, scores)
    assert (one.accuracy, one.balanced_accuracy) == (0.75, 0.5)
    wrong_ai = np.full(len(experiment.eval_rows), -1.0)
    keep = (experiment.eval_labels == 0) | (np.arange(len(wrong_ai)) % 3 == 0)
    fewer = replace(experiment)
    fewer.__dict__["eval_rows"] = experiment.eval_rows[keep]
    row = dict(zip((t := comparison("x", "X", "what", fewer, {"a": [wrong_ai[keep]]})).columns, t.rows[0], strict=True))
    assert row["mAcc"] > row["balanced"] == 0.5
    assert row["mAcc"] == pytest.approx(accuracies("x", "X", "what", fewer, {"a": [wrong_ai[keep]]}).rows[0][1])


def test_fitting_again_keeps_the_older_checkpoint_and_its_evaluation(report, data, tmp_path):
    out, budget = report
    old = (out / "main" / "checkpoint" / "eval" / "eval.json").read_text()
    copy = tmp_path / "again"
    shutil.copytree(out / "main", copy / "main")
    Studies(replace(data, fit=replace(data.fit, epochs=3)), budget, copy).run(["main"])
    assert (copy / "main" / "checkpoint-1" / "eval" / "eval.json").read_text() == old
    assert (copy / "main" / "checkpoint" / "eval" / "eval.json").exists()


def test_once_repeats_after_an_interrupted_study(tmp_path):
    made = []

    def make() -> StudyResult:
        made.append(1)
        return StudyResult("x", "X", "text", (Table("t", "T", ("a",), ((1,),)),))

    for _ in range(2):
        once(tmp_path, {"n": 1}, make)
    assert len(made) == 1
    (tmp_path / "study.json").unlink()
    once(tmp_path, {"n": 1}, make)
    once(tmp_path, {"n": 2}, make)
    assert len(made) == 3


def test_nll_from_the_cache_is_the_definition(data, experiment):
    """Half the mean squared error over masked pixels in normalised space, from an own forward in float64."""
    from cinemae.runtime.preprocess import load_image

    mae = data.load().double().eval()
    rows = experiment.eval_rows[:4]
    pixels = np.stack(
        [load_image(experiment.cache.rows[i].path, experiment.cache.spec.preprocess).pixels for i in rows]
    )
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


def test_arms_of_the_freezing_ablation_are_selected_alike(data):
    """Trained end to end with nothing unfrozen, an arm is the head that trains on the cache: same initial head, same
    order, same masks drawn, same epoch chosen."""
    fast = replace(data, fit=replace(data.fit, epochs=6, lr=0.02, batch_size=8))
    experiment = fast.experiment(fast.fill(fast.train_samples() + fast.test_samples()))
    inputs = head_inputs(experiment, {"m": experiment.method})["m"]
    expected = train_head(inputs.train, inputs.held, experiment.fit, experiment.head, quiet=True)
    assert expected.best_epoch < 6, "the last epoch is not the best one"
    scores = train_end_to_end(fast, experiment, inputs, encoder=False, decoder=False, seed=experiment.fit.seed)
    (cached,) = fit_scores(experiment, inputs, experiment.head)
    np.testing.assert_allclose(scores, cached, atol=END_TO_END_TOLERANCE)


@pytest.mark.parametrize("name", STRATEGIES)
def test_unfreezing_trains_exactly_the_named_parts(data, name):
    encoder, decoder = STRATEGIES[name]
    mae = data.load()
    unfreeze(mae, encoder, decoder)
    for key, parameter in mae.named_parameters():
        wanted = (decoder if is_decoder(key) else encoder) and not key.endswith("pos_embed")
        assert parameter.requires_grad == wanted, key


def test_studies_read_their_own_samples_alone(data, samples):
    """An image that another run cached as training data is test data here, and nothing else."""
    chosen = samples[:8]
    data.fill(chosen)
    moved = [replace(chosen[0], split="test"), *chosen[1:4]]
    rows = data.fill(moved).rows
    assert {(row.path, row.split) for row in rows} == {(str(s.path), s.split) for s in moved}
    assert data.experiment(data.fill(moved)).identity != data.experiment(data.fill(chosen)).identity


def test_report_only_generators_stand_last_and_apart(experiment):
    assert experiment.generators == ["sd", "glide", "BigGAN"]
    perfect = np.where(experiment.eval_labels == 1, 1.0, -1.0)
    wrong = np.where(experiment.eval_generators == "BigGAN", -perfect, perfect)
    table = comparison("x", "X", "what", experiment, {"a": [perfect], "b": [wrong]})
    row = dict(zip(table.columns, table.rows[1], strict=True))
    assert row["AUC report-only"] == 0
    assert row["AUC unseen"] == 0.5
    assert row["AUC sd"] == row["AUC glide"] == 1
    assert table.rows[0][1:4] == (1, 1, 1)


def test_training_generator_is_the_papers_or_asked_for():
    def sample(generator: str, split: str = "train") -> Sample:
        return Sample(Path("x"), 1, generator, split)

    several = [sample("ADM"), sample("stable_diffusion_v_1_4"), sample("wukong", "val")]
    assert choose_training(several, None) == ("stable_diffusion_v_1_4",)
    assert choose_training(several, ["adm"]) == ("ADM",)
    assert choose_training(several[:1], None) == ("ADM",)
    assert choose_training(several, ["SD v1.4"]) == ("stable_diffusion_v_1_4",)
    assert choose_training([sample("ADM"), sample("Stable-Diffusion-1.4")], None) == ("Stable-Diffusion-1.4",)
    assert choose_training([sample("ProGAN"), sample("progan"), sample("ADM")], None) == ("ProGAN", "progan")
    assert choose_training(several, ["all"]) == ("ADM", "stable_diffusion_v_1_4")
    with pytest.raises(UsageError, match="no training split of wukong"):
        choose_training(several, ["wukong"])
    with pytest.raises(UsageError, match="--train-on"):
        choose_training([sample("ADM"), sample("glide")], None)
    with pytest.raises(UsageError, match="has no training split"):
        choose_training([sample("ADM", "val")], None)


def test_clearest_cases_first():
    labels, scores = np.array([1, 1, 1, 0, 0]), np.array([0.5, 3.0, -2.0, 1.0, -4.0])
    assert choose(labels, scores, 1, True, 5).tolist() == [1, 0]
    assert choose(labels, scores, 1, False, 5).tolist() == [2]
    assert choose(labels, scores, 0, True, 1).tolist() == [3]


def test_parts_are_checked():
    assert choose_parts("lambda, fusion") == ["lambda", "fusion"]
    assert choose_parts("cached") == ["statistics", "lambda", "pixels", "fusion"]
    assert set(choose_parts("all")) >= {"freezing", "masks", "backbones"}
    with pytest.raises(UsageError, match="'colour'"):
        choose_parts("colour")


def test_tables_refuse_columns_that_collide():
    with pytest.raises(ValueError, match="must differ"):
        Table("t", "T", ("a", "a"), ((1, 2),))
    with pytest.raises(ValueError, match="fill them"):
        Table("t", "T", ("a", "b"), ((1,),))


def test_table_round_trip_and_formats(tmp_path):
    table = Table("t", "T|x", ("a", "b"), (("x|y", 0.12345), ("z", float("nan"))), "note")
    table.write(tmp_path)
    back = Table.read(tmp_path / "t.json")
    assert back.rows == (("x|y", 0.12345), ("z", None))
    assert "| x\\|y | 0.123 |" in table.markdown()
    assert (tmp_path / "t.csv").read_text() == "a,b\nx|y,0.12345\nz,\n"
    assert json.loads((tmp_path / "t.json").read_text())["note"] == "note"
