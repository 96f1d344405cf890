"""`paper` end to end on a tiny model and tiny pictures: every study, its tables and plots, and resuming."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from cinemae.train.reporting.tables import Table
from cinemae.train.studies.ablate_freezing import STRATEGIES
from cinemae.train.studies.paper import Budget, Studies, paper

pytestmark = pytest.mark.slow

STUDIES = (
    "audit", "main", "controls", "balanced", "robustness", "statistics", "lambda", "pixels", "fusion", "training",
    "masks", "freezing", "backbones", "nll", "curve", "spearman", "heatmaps",
)


def table_of(out: Path, study: str, name: str) -> Table:
    return Table.read(out / study / f"{name}.json")


def test_paper_runs_everything_into_one_page(report):
    out, _, _ = report
    page = (out / "report.html").read_text()
    for study in STUDIES:
        assert f'<h2 id="{study}">' in page
    assert "http://" not in page
    assert "https://" not in page
    assert page.count("data:image/svg+xml;base64,") >= 18
    assert "# CINEMAE" in (out / "report.md").read_text()
    assert "data:image" not in (out / "report.md").read_text()
    assert (out / "main" / "checkpoint" / "manifest.json").exists()
    for name in ("main", "controls", "robustness", "spearman"):
        assert {p.suffix for p in (out / name).glob(f"{name}.*")} >= {".json", ".csv", ".md"}


def test_tables_have_the_papers_rows(report):
    out, _, _ = report
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
    assert (out / "freezing" / "freezing_accuracy.svg").exists()
    sets = table_of(out, "training", "training_sets").rows
    assert [row[:2] for row in sets[:1] + sets[-1:]] == [("sd", "sd"), ("all generators", "mean (mAcc)")]
    assert len(table_of(out, "masks", "masks").rows) == 8
    conditions = [row[0] for row in table_of(out, "robustness", "robustness").rows]
    assert conditions[:5] == ["clean", "jpeg_95", "jpeg_90", "jpeg_75", "jpeg_50"]
    assert len(conditions) == 18
    assert table_of(out, "curve", "decoder_curve").columns[:3] == ("images", "step 0", "step 1")


def test_figures_are_in_range_and_depend_on_the_variant(report):
    out, _, _ = report
    for study, name in (("lambda", "lambda_statistics"), ("controls", "controls"), ("masks", "masks")):
        table = table_of(out, study, name)
        values = np.array([[v for v in row if isinstance(v, float)] for row in table.rows])
        assert ((values >= 0) & (values <= 1)).all()
        assert len({tuple(row) for row in values.tolist()}) > 1
    accuracy = {row[0]: row[1] for row in table_of(out, "controls", "controls").rows}
    assert accuracy["spectrum probe"] > 0.9  # coarse against fine noise is what a spectrum tells best


def test_decoder_curve_falls(report):
    out, _, _ = report
    for row in table_of(out, "curve", "decoder_curve").rows:
        assert row[-1] < row[1]


def test_a_second_run_computes_nothing(report, data, monkeypatch):
    out, budget, _ = report
    monkeypatch.chdir(out)
    before = {path: path.stat().st_mtime_ns for path in out.rglob("study.json")}

    def refuse(*_: object) -> None:
        raise AssertionError("a finished study ran again")

    for name in ("audit", "main_table", "controls", "freezing", "decoder_curve", "robustness"):
        monkeypatch.setattr(f"cinemae.train.studies.paper.{name}", refuse)
    paper(data, budget, out)
    assert {path: path.stat().st_mtime_ns for path in out.rglob("study.json")} == before


def test_other_options_run_again(report, data):
    out, _, _ = report
    old = table_of(out, "curve", "decoder_curve").columns
    Studies(data, Budget(curve_steps=16), out).run(["curve"])
    assert table_of(out, "curve", "decoder_curve").columns != old


def test_fitting_again_keeps_the_older_checkpoint_and_its_evaluation(report, data, tmp_path):
    out, budget, _ = report
    old = (out / "main" / "checkpoint" / "eval" / "eval.json").read_text()
    copy = tmp_path / "again"
    shutil.copytree(out / "main", copy / "main")
    Studies(replace(data, fit=replace(data.fit, epochs=3)), budget, copy).run(["main"])
    assert (copy / "main" / "checkpoint-1" / "eval" / "eval.json").read_text() == old
    assert (copy / "main" / "checkpoint" / "eval" / "eval.json").exists()
