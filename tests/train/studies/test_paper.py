"""`paper` end to end on a tiny model and tiny pictures: every study, its tables and plots, resuming, and failing."""

from __future__ import annotations

import json
import math
import re
import shutil
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from cinemae.runtime.core import progress
from cinemae.runtime.core.environment import cinemae_version
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


def test_paper_runs_everything_into_one_page(report, experiment):
    out, shown = report
    assert [result.error for result, _ in shown.studies] == [""] * len(STUDIES)
    page, text = (out / "report.html").read_text(), (out / "report.md").read_text()
    assert [name for name in STUDIES if f'<h2 id="{name}">' in page] == list(STUDIES)
    assert "http://" not in page + text
    assert "https://" not in page
    assert page.count("data:image/svg+xml;base64,") >= 18
    assert text.startswith("# CINEMAE: Reproduction report\n\nNot comparable with the paper's figures: the backbone ")
    assert f"CINEMAE {cinemae_version()}, 20" in text
    assert f", command: {Path(sys.argv[0]).name}" in text
    assert experiment.identity["rows"] in text
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
    assert accuracy.columns == ("strategy", "seeds", "mAcc", "sd", "glide", "BigGAN †"), "Fig. 10: each generator"
    for row in accuracy.rows:
        assert row[2] == pytest.approx(np.mean(row[3:5])), "without the generator that is only reported"
    assert (out / "freezing" / "freezing_accuracy.svg").exists()
    sets = tables["training_sets"].rows
    assert [row[:2] for row in sets[:1] + sets[-1:]] == [("sd", "sd"), ("all generators", "mean (mAcc)")]
    conditions = [row[0] for row in tables["robustness"].rows]
    assert conditions[:5] == ["clean", "jpeg_95", "jpeg_90", "jpeg_75", "jpeg_50"]
    assert tables["decoder_curve"].columns[:3] == ("images", "step 0", "step 1")


def test_cinemae_has_one_macc_over_all_seeds_and_the_report_says_where_it_differs(report, tables, experiment):
    """Main result, controls, statistics, fusion, λ and pixel space: the same heads on the same images."""
    _, shown = report
    of = {(name, str(row[0])): row for name, table in tables.items() for row in table.rows}
    accuracy = of["accuracy", "mean"][4]
    for name, label in (("controls", "CINEMAE"), ("statistics", "s1 + s2 + s3"), ("fusion", "early add"),
                        ("lambda", "λ = 0.1"), ("pixels", "unit, D_stat mean, fidelity sum")):
        row = of[name, label]
        assert (row[1], row[2].low, row[2], row[2].high) == (2, accuracy.low, accuracy, accuracy.high), name
    assert accuracy.low < accuracy <= accuracy.high
    assert "seed 0" in tables["main"].title
    main = next(result for result, _ in shown.studies if result.name == "main")
    assert "It differs where fewer images are trained or tested on" in main.text
    for name in ("native", "masks", "backbones", "freezing", "robustness"):
        assert "test images." in tables[name].note, "so that a reader can tell why"
    assert {row[1] for row in tables["robustness"].rows} == {2}
    assert tables["robustness"].columns[2:4] == ("mAcc", "mAcc less clean")


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
        at = [i for i, column in enumerate(tables[name].columns) if i > 1 and " less " not in column]
        at = [i for i in at if all(isinstance(row[i], float) for row in tables[name].rows)]
        values = np.array([[float(row[i]) for i in at] for row in tables[name].rows])
        assert ((values >= 0) & (values <= 1)).all()
        assert len({tuple(row) for row in values.tolist()}) > 1
    accuracy = {row[0]: row[2] for row in tables["controls"].rows}
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


def test_studies_are_counted_with_the_time_that_is_left_and_share_few_lines(
    experiment, tmp_path, monkeypatch, caplog, capsys
):
    """As if every image took minutes: neither conditions nor images add lines."""
    monkeypatch.setattr(progress, "LOG_SECONDS", 0.0)
    with caplog.at_level("INFO", "cinemae.train"):
        run_studies(replace(experiment, quiet=False), ["controls", "robustness", "nll"], tmp_path)
    told = [text for text in caplog.messages if text.startswith("study ")]
    left = r"; about \d:\d\d:\d\d left, at the pace of the studies before"
    assert told[0] == "study 1 of 3, controls"
    assert re.fullmatch(f"study 2 of 3, robustness{left}", told[1])
    assert re.fullmatch(f"study 3 of 3, nll{left}", told[2])
    shown = Counter(line.partition(":")[0] for line in capsys.readouterr().err.splitlines())
    assert 1 <= shown["study 2 of 3, robustness"] <= 40, "of 18 conditions with more than two lines each"


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
    assert report.overview.ran.startswith("0 of 2 studies with a published figure ran; 1 of 1 studies without")
    with pytest.raises(UsageError, match="no other generator"):
        run_studies(alone, ["training"], tmp_path)
