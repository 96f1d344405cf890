"""`cinemae-train` end to end on rendered images and a seeded backbone: extract, fit, calibrate, eval."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from cinemae.runtime.core import progress
from cinemae.runtime.images.preprocess import load_image
from cinemae.train.cli.extract import ExtractOptions, chosen_part
from cinemae.train.cli.train import main
from cinemae.train.features.sample_list import read_recorded
from cinemae.train.fitting.checkpoint import load_checkpoint, load_head
from cinemae.train.fitting.checkpoint_folder import last_checkpoint, read_manifest, remember_checkpoint

LOGIT_TOLERANCE = 1e-4
"""Cached against fresh: the same float32 operations in other batch sizes."""


def run(*arguments, code=0) -> None:
    with pytest.raises(SystemExit) as stop:
        main([str(a) for a in arguments])
    assert (stop.value.code or 0) == code


@pytest.fixture
def chain(fitted, tmp_path, monkeypatch):
    """The current folder, a copy of `fitted`; the checkpoint's path."""
    shutil.copytree(fitted / "runs", tmp_path / "runs")
    monkeypatch.chdir(tmp_path)
    remember_checkpoint(Path("runs/checkpoint"))
    return tmp_path / "runs" / "checkpoint"


def test_the_whole_chain_learns_and_reports(chain, image_tree, capsys):
    run("eval", "last", image_tree, "-q")
    shown = capsys.readouterr().out
    terms = ("gen_b", "mAcc", "AUC own real", "AUC all real")
    for term in terms:
        assert term in shown
    whole = (chain / "eval" / "eval.md").read_text("utf-8")
    for term in (*terms, "Cllr", "ECE", "TPR@x%", "called ai, uncertain, called real"):
        assert term in whole
    assert shown.splitlines()[-1] == f"next: cinemae export {chain}"
    os.umask(mask := os.umask(0))
    modes = {path.name: path.stat().st_mode & 0o777 for path in Path("runs").rglob("*") if path.is_file()}
    assert "scores.safetensors" in modes
    assert set(modes.values()) == {0o666 & ~mask}
    found = json.loads((chain / "eval" / "eval.json").read_text())
    groups = {(g["generator"], g["split"]): g for g in found["groups"]}
    assert set(groups) == {("gen_a", "val"), ("gen_b", "val")}
    assert groups["gen_a", "val"]["n_ai"] == groups["gen_a", "val"]["n_real"] == 8
    assert groups["gen_b", "val"]["auc"] > 0.9, "noise against ramps is easy, also for a generator never seen"
    assert [groups[key]["seen"] for key in sorted(groups)] == [True, False]
    for name in ("roc.png", "reliability.png"):
        assert load_image(chain / "eval" / name, read_manifest(chain).preprocess).width > 100
    assert (chain / "eval" / "eval.csv").read_text().count("\n") == 3
    assert "gen_b" in (chain / "eval" / "eval.md").read_text()
    manifest = read_manifest(chain)
    assert manifest.metrics["gen_b/val"]["auc"] == groups["gen_b", "val"]["auc"]
    assert (manifest.licence, manifest.backbone.licence) == ("unknown", "unknown"), "the weights state none"


def test_scores_from_the_cache_are_those_of_the_detector(chain, image_tree):
    from cinemae.train.evaluation.evaluate import score
    from cinemae.train.features.cache import open_cache

    loaded = load_checkpoint(last_checkpoint())
    cache = open_cache(chain.parent / "cache")
    scored = score(load_head(chain), cache, np.arange(6))
    images = np.stack([load_image(row.path, loaded.manifest.preprocess).pixels for row in cache.rows[:6]])
    with torch.inference_mode():
        fresh = loaded.detector(torch.from_numpy(images)).logit.numpy()
    np.testing.assert_allclose(scored.logits, fresh, atol=LOGIT_TOLERANCE)


def test_every_command_ends_with_the_next(chain, image_tree, tiny_weights, capsys):
    extract = ("extract", image_tree, "--backbone", tiny_weights, "-q")
    for command, following in (
        (("calibrate", "--false-alarm", "0.5", "--miss", "0.4"), f"cinemae export {chain}"),
        ((*extract, "--cache", "a b", "--shard", "0/2"),
         "the other parts, then cinemae train fit --cache 'a b' --held-out 0.3"),
        ((*extract, "--cache", "a b", "--shard", "1/2"), "cinemae train fit --cache 'a b' --held-out 0.3"),
        ((*extract, "--split", "val", "-g", "gen_b"),
         f"cinemae train eval last {image_tree} --split=val --generator=gen_b"),
        (extract, "cinemae train fit --held-out 0.3"),
    ):
        run(*command)
        assert capsys.readouterr().out.splitlines()[-1] == f"next: {following}"


def test_the_next_command_runs_as_it_is_printed(chain, image_tree, tiny_weights, capsys):
    """A second cache beside the first, and too few images for a tenth to hold both classes."""
    run("extract", image_tree, "--backbone", tiny_weights, "-q", "--k", "1")
    for data in ("", str(image_tree)):
        following = capsys.readouterr().out.splitlines()[-1 if not data else -2].removeprefix("next: ")
        run(*shlex.split(following.replace("DATA", data))[2:], "-q")
    assert capsys.readouterr().out.splitlines()[-1] == "next: cinemae export runs/checkpoint"


def test_where_nothing_was_fitted_the_next_command_does_not_say_last(
    image_tree, tiny_weights, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    run("extract", image_tree, "--backbone", tiny_weights, "-q", "--split", "val")
    assert capsys.readouterr().out.splitlines()[-1] == f"next: cinemae train eval CHECKPOINT {image_tree} --split=val"


def test_rates_that_so_few_images_cannot_promise_are_a_warning(chain, capsys):
    run("calibrate", "--false-alarm", "0.01", "--miss", "0.4")
    shown = capsys.readouterr().err
    held = read_manifest(chain).calibration.n_real
    assert f"{held} real images are too few to promise" in shown
    rate = re.search(r"--false-alarm (0\.\d+)", shown)[1]
    assert "AI images are too few" not in shown
    before = read_manifest(chain).calibration
    run("calibrate", "--false-alarm", rate, "--miss", "0.4")
    shown, after = capsys.readouterr(), read_manifest(chain).calibration
    assert "too few" not in shown.err
    assert str(chain) in shown.out
    assert (after.false_alarm, after.miss) != (before.false_alarm, before.miss)
    assert after.ai_from is not None
    assert (after.likelihood, after.fitted_on) == (before.likelihood, before.fitted_on), "the same scores"


def fit_again(*arguments) -> set[str]:
    """Names of the files that a fit read, from the list in its checkpoint."""
    run("fit", "-q", "--epochs", "20", "--lr", "2e-2", "--held-out", "0.3", "--out", "runs/again", *arguments)
    return {Path(sample.path).name for sample in read_recorded(Path("runs/again/samples.jsonl"))}


def test_a_logistic_head_goes_from_fit_to_an_engine(chain, image_tree, monkeypatch, capsys):
    from cinemae.export.cli import main as export

    run("fit", "-q", "--head", "logistic", "--held-out", "0.3", "--out", "runs/linear")
    shown = capsys.readouterr().out
    assert "; logistic regression on standardised features, C 1: held-out AUC" in shown
    run("eval", "runs/linear", image_tree, "-q", "--resamples", "0")
    manifest = read_manifest(Path("runs/linear"))
    assert manifest.head.kind == "logistic"
    assert manifest.training.epochs == 0
    assert manifest.metrics["gen_b/val"]["auc"] > 0.9
    monkeypatch.setattr("sys.argv", ["cinemae-export", "runs/linear", "--parts"])
    with pytest.raises(SystemExit) as stop:
        export()
    assert not stop.value.code, "parity of the graph and of the parts"


def test_moved_renamed_deleted_and_replaced_images_leave_the_fit(chain, image_tree, tiny_weights, tmp_path):
    tree = tmp_path / "tree"
    shutil.copytree(image_tree, tree)
    train = tree / "gen_a" / "train" / "ai"
    moved, renamed, deleted, replaced = sorted(train.iterdir())[:4]
    extract = ("extract", tree, "--backbone", tiny_weights, "-q")
    run(*extract)
    before = fit_again()
    assert {moved.name, renamed.name, deleted.name} < before
    moved.rename(tree / "gen_a" / "val" / "ai" / "moved.png")
    renamed.rename(train / "renamed.png")
    deleted.unlink()
    shutil.copy(tree / "gen_b" / "val" / "ai" / "000.png", replaced)
    run(*extract)
    (folder,) = Path("runs/cache").iterdir()
    listed = {sample.path: sample for sample in read_recorded(folder / "samples.jsonl")}
    assert set(listed) == {str(path) for path in tree.rglob("*.png")}
    after = fit_again()
    manifest = read_manifest(Path("runs/again"))
    in_train = {path.name for path in (tree / "gen_a" / "train").rglob("*.png")}
    assert after == in_train
    assert "moved.png" not in in_train
    assert manifest.training.n_ai + manifest.training.n_real + manifest.metrics["held_out"]["images"] == 46
    assert listed[str(replaced)].content == listed[str(tree / "gen_b" / "val" / "ai" / "000.png")].content


@pytest.mark.slow
def test_images_of_the_fit_are_not_evaluated_under_another_name(chain, image_tree, tmp_path, capsys):
    tree = tmp_path / "tree"
    shutil.copytree(image_tree / "gen_b", tree / "gen_b")
    train = image_tree / "gen_a" / "train"
    shutil.copy(train / "ai" / "000.png", tree / "gen_b" / "val" / "ai" / "renamed.png")
    run("eval", "last", tree, "-q", "--resamples", "0")
    left_out = f"1 images left out: the head was fitted on the same bytes, the first {tree}/gen_b/val/ai/renamed.png"
    assert left_out in capsys.readouterr().out
    (group,) = json.loads((chain / "eval" / "eval.json").read_text())["groups"]
    assert (group["n_ai"], group["n_real"]) == (8, 8)
    shutil.copytree(train, tmp_path / "moved" / "gen_c" / "val")
    run("eval", "last", tmp_path / "moved", "-q", code=2)
    assert "the head was fitted on all 48 images, whatever their names" in capsys.readouterr().err
    run("eval", "last", image_tree, "-q", "--resamples", "0", "--split", "train")
    assert "left out" not in capsys.readouterr().out


def test_calibrate_reads_the_list_of_the_fit(chain, image_tree, tiny_weights):
    before = read_manifest(chain).calibration
    run("extract", image_tree, "--backbone", tiny_weights, "-q", "--split", "val")
    run("fit", "-q", code=2)  # the last extraction has no training split
    run("calibrate")
    assert read_manifest(chain).calibration == before


def test_fit_reads_a_named_list_and_none_of_an_unfinished_extraction(chain, image_tree, tiny_weights, capsys):
    (folder,) = Path("runs/cache").iterdir()
    shutil.copy(folder / "samples.jsonl", "mine.jsonl")
    run("extract", image_tree, "--backbone", tiny_weights, "-q", "--shard", "0/2")
    run("fit", "-q", code=2)
    assert "no extraction into this cache has finished" in capsys.readouterr().err
    assert len(fit_again("--samples", "mine.jsonl")) == 24
    run("extract", image_tree, "--backbone", tiny_weights, "-q", "--shard", "1/2")
    fit_again()
    assert last_checkpoint() == Path("runs/again").resolve()


def test_only_torchrun_divides_an_extraction(monkeypatch):
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "4")
    monkeypatch.delenv("TORCHELASTIC_RUN_ID", raising=False)
    assert chosen_part(ExtractOptions(backbone="x")) == (0, 1), "variables that a scheduler left"
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")
    assert chosen_part(ExtractOptions(backbone="x")) == (1, 4)


def test_extract_shows_its_stages_before_the_first_image(chain, image_tree, tiny_weights, capsys):
    run("extract", image_tree, "--backbone", tiny_weights, "--split", "val", "--precision", "fp32")
    first, second, *_, last = capsys.readouterr().err.splitlines()
    assert first == f"32 images; loading {tiny_weights} ..."
    assert second == "0/32 images, 0.0/s"
    assert last.startswith("32/32 images, ")


def test_progress_in_a_log_does_not_grow_with_the_data(chain, image_tree, tiny_weights, monkeypatch, capsys):
    """As if every image took minutes: about ten lines in each of extract and fit."""
    monkeypatch.setattr(progress, "LOG_SECONDS", 0.0)
    extract = ("extract", image_tree, "--backbone", tiny_weights, "--batch-size", "4")
    counts = []
    for command in ((*extract, "-g", "gen_b", "--cache", "few"), (*extract, "--cache", "many"),
                    ("fit", "--cache", "many", "--held-out", "0.3", "--epochs", "40")):
        run(*command)
        counts.append(len(re.findall(r"^[\d,]+/[\d,]+ (?:images|samples), ", capsys.readouterr().err, re.MULTILINE)))
    few, many, fit = counts
    assert few == many <= 13
    assert 10 <= fit <= 12


@pytest.mark.parametrize("command", ["extract", "eval"])
def test_a_precision_that_the_device_does_not_have_is_a_usage_error(command, chain, image_tree, tiny_weights, capsys):
    data = [image_tree, "--backbone", tiny_weights] if command == "extract" else ["last", image_tree]
    run(command, *data, "-q", "--device", "cpu", "--precision", "fp16", code=2)
    assert "--precision fp32" in capsys.readouterr().err
