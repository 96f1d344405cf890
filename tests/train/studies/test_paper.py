"""`paper` end to end on a tiny model and tiny pictures: every study, its tables and plots, resuming, and failing."""

from __future__ import annotations

import json
import math
import shutil
from dataclasses import replace

import numpy as np
import pytest
from cinemae.runtime.core.errors import UsageError
from cinemae.train.reporting.published import published_for
from cinemae.train.reporting.tables import Table
from cinemae.train.studies.freezing import STRATEGIES
from cinemae.train.studies.paper import STUDIES, paper, run_studies

pytestmark = pytest.mark.slow


@pytest.fixture
def tables(report):
    """The tables of the run by their names."""
    _, shown = report
    return {table.name: table for result, _ in shown.studies for table in result.tables}


def refuse(*_: object) -> None:
    raise AssertionError("a finished study ran again")


def test_paper_runs_everything_into_one_page(report):
    out, shown = report
    assert [result.error for result, _ in shown.studies] == [""] * len(STUDIES)
    page, text = (out / "report.html").read_text(), (out / "report.md").read_text()
    assert [name for name in STUDIES if f'<h2 id="{name}">' in page] == list(STUDIES)
    assert "http://" not in page + text
    assert "https://" not in page
    assert page.count("data:image/svg+xml;base64,") >= 18
    assert "# CINEMAE" in text
    assert "data:image" not in text
    assert (out / "main" / "checkpoint" / "manifest.json").exists()
    assert not (out / "runs").exists(), "runs/last is of the user's own fits"
    for name in ("main", "controls", "robustness", "spearman"):
        assert {p.suffix for p in (out / name).glob(f"{name}.*")} >= {".json", ".csv", ".md"}
        for path in (out / name).glob("*.json"):
            if path.name != "study.json":
                assert Table.of_record(json.loads(path.read_text())).name == path.stem


def test_tables_have_the_papers_rows(report, tables):
    out, _ = report
    assert [row[0] for row in tables["lambda"].rows] == ["λ = 0", "λ = 0.1", "λ = 0.3", "λ = 0.5", "λ = 1"]
    sizes = {name: len(tables[name].rows) for name in ("statistics", "fusion", "pixels", "masks", "robustness")}
    assert sizes == {"statistics": 9, "fusion": 7, "pixels": 8, "masks": 8, "robustness": 18}
    for name in ("statistics", "fusion", "controls", "native", "balanced"):
        assert "logistic head" in [row[0] for row in tables[name].rows], "beside the paper's head"
    assert "robustness_logistic" in tables
    assert len([row for row in tables["backbones"].rows if str(row[0]).endswith(", logistic head")]) == 1
    arms = [f"{name}.safetensors, {strategy}" for name in ("backbone", "other") for strategy in STRATEGIES]
    assert [row[0] for row in tables["freezing"].rows] == arms
    accuracy = tables["freezing_accuracy"]
    assert [row[0] for row in accuracy.rows] == arms
    assert accuracy.columns == ("strategy", "mAcc", "sd", "glide", "BigGAN"), "Fig. 10: both backbones, each generator"
    for row in accuracy.rows:
        assert row[1] == pytest.approx(np.mean(row[2:]))
    assert (out / "freezing" / "freezing_accuracy.svg").exists()
    sets = tables["training_sets"].rows
    assert [row[:2] for row in sets[:1] + sets[-1:]] == [("sd", "sd"), ("all generators", "mean (mAcc)")]
    conditions = [row[0] for row in tables["robustness"].rows]
    assert conditions[:5] == ["clean", "jpeg_95", "jpeg_90", "jpeg_75", "jpeg_50"]
    assert tables["decoder_curve"].columns[:3] == ("images", "step 0", "step 1")


def test_every_published_row_of_an_ablation_has_its_row_here(report):
    _, shown = report
    for result, _ in shown.studies:
        for one in published_for(result.name, shown.trained):
            if one.study not in ("main", "training", "backbones"):  # backbones and data of the paper are not here
                assert not [name for name, values in one.here(result).items() if any(map(math.isnan, values))]
    claims = {result.name: claim for result, claim in shown.overview.lines}
    assert claims["statistics"].paper == pytest.approx(29.51)
    assert claims["audit"] is None


def test_figures_are_in_range_and_depend_on_the_variant(tables):
    for name in ("lambda_statistics", "controls", "masks"):
        values = np.array([[v for v in row if isinstance(v, float)] for row in tables[name].rows])
        assert ((values >= 0) & (values <= 1)).all()
        assert len({tuple(row) for row in values.tolist()}) > 1
    accuracy = {row[0]: row[1] for row in tables["controls"].rows}
    assert accuracy["spectrum probe"] > 0.9  # coarse against fine noise is what a spectrum tells best
    for row in tables["decoder_curve"].rows:
        assert row[-1] < row[1], "a decoder that learns"


def test_a_second_run_computes_nothing_and_reads_the_same(report, experiment, monkeypatch):
    out, shown = report
    for name, study in STUDIES.items():
        monkeypatch.setitem(STUDIES, name, replace(study, make=refuse))
    assert paper(experiment, out).terminal() == shown.terminal()


def test_other_options_run_their_study_again_and_leave_the_older_checkpoint(report, experiment, tmp_path):
    out, shown = report
    shutil.copytree(out, tmp_path, dirs_exist_ok=True)
    more = replace(experiment, budget=replace(experiment.budget, curve_steps=16))
    (again, _), (kept, _) = run_studies(more, ["curve", "nll"], tmp_path).studies[::-1]
    before = {result.name: result for result, _ in shown.studies}
    assert again.tables[0].columns != before["curve"].tables[0].columns
    assert kept.terminal() == before["nll"].terminal()
    old = (out / "main" / "checkpoint" / "eval" / "eval.json").read_text()
    run_studies(replace(experiment, fit=replace(experiment.fit, epochs=3)), ["main"], tmp_path)
    assert (tmp_path / "main" / "checkpoint-1" / "eval" / "eval.json").read_text() == old
    assert (tmp_path / "main" / "checkpoint" / "eval" / "eval.json").exists()


def test_a_study_that_cannot_run_is_a_row_and_the_others_run(experiment, tmp_path, monkeypatch):
    def fail(*_: object) -> None:
        raise RuntimeError("out of memory")

    monkeypatch.setitem(STUDIES, "nll", replace(STUDIES["nll"], make=fail))
    alone = replace(experiment, samples=tuple(s for s in experiment.samples if s.generator != "wukong"))
    report = run_studies(alone, ["audit", "training", "nll"], tmp_path)
    results = [result for result, _ in report.studies]
    assert [result.name for result in results] == ["audit", "training", "nll"], "each at its place"
    assert results[0].tables
    assert "no other generator has a training split" in results[1].error
    assert results[2].error == "RuntimeError: out of memory"
    assert "could not run: RuntimeError: out of memory" in report.terminal()
    assert report.overview.ran.startswith("1 of 3 studies ran")
    with pytest.raises(UsageError, match="no other generator"):
        run_studies(alone, ["training"], tmp_path)
