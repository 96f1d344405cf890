"""`cinemae-train` end to end on rendered images and a seeded backbone: extract, fit, calibrate, eval."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from cinemae.runtime.preprocess import load_image
from cinemae.train.cli.train import main
from cinemae.train.fitting.checkpoint import (
    last_checkpoint,
    load_checkpoint,
    load_head,
    read_manifest,
    remember_checkpoint,
)

LOGIT_TOLERANCE = 1e-4
"""Cached against fresh: the same float32 operations in other batch sizes."""


def run(*arguments) -> None:
    with pytest.raises(SystemExit) as stop:
        main([str(a) for a in arguments])
    assert stop.value.code in (0, None)


@pytest.fixture(scope="module")
def fitted(image_tree, tiny_weights, tmp_path_factory):
    """A folder in which `extract` and `fit` ran. Do not modify."""
    folder = tmp_path_factory.mktemp("chain")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        run("extract", image_tree, "--backbone", tiny_weights, "-q", "--split", "train")
        run("fit", "-q", "--epochs", "20", "--lr", "2e-2", "--held-out", "0.3", "--embed-backbone")
    return folder


@pytest.fixture
def chain(fitted, tmp_path, monkeypatch):
    """A copy of it, the current folder; the checkpoint's path."""
    shutil.copytree(fitted / "runs", tmp_path / "runs")
    monkeypatch.chdir(tmp_path)
    remember_checkpoint(Path("runs/checkpoint"))
    return tmp_path / "runs" / "checkpoint"


def test_the_whole_chain_learns_and_reports(chain, image_tree, capsys):
    run("eval", "last", image_tree, "-q", "--resamples", "50")
    assert "gen_b" in capsys.readouterr().out
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
    assert read_manifest(chain).metrics["gen_b/val"]["auc"] == groups["gen_b", "val"]["auc"]


def test_scores_from_the_cache_are_those_of_the_detector(chain, image_tree):
    from cinemae.train.evaluation.evaluate import score
    from cinemae.train.features.cache import open_cache

    loaded = load_checkpoint(last_checkpoint())
    cache = open_cache(chain.parent / "cache")
    scored = score(load_head(chain), cache, np.arange(6))
    images = np.stack([load_image(path, loaded.manifest.preprocess).pixels for path in scored.paths])
    with torch.inference_mode():
        fresh = loaded.detector(torch.from_numpy(images)).logit.numpy()
    np.testing.assert_allclose(scored.logits, fresh, atol=LOGIT_TOLERANCE)


def test_calibrate_moves_the_threshold(chain, capsys):
    before = read_manifest(chain).calibration
    run("calibrate", "--target-fpr", "0.5")
    after = read_manifest(chain).calibration
    assert str(chain) in capsys.readouterr().out
    assert after.target_fpr == 0.5
    assert after.threshold < before.threshold
    assert after.a == pytest.approx(before.a, rel=1e-3), "the same held-out images, the same logits"
    assert after.fitted_on == before.fitted_on


def test_errors_are_one_line_with_the_right_code(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for arguments, words in (
        (["fit"], "no feature cache"),
        (["calibrate"], "no checkpoint"),
        (["extract", "nowhere", "--backbone", "x"], "nowhere"),
    ):
        with pytest.raises(SystemExit) as stopped:
            main(arguments)
        text = capsys.readouterr().err
        assert stopped.value.code == 2
        assert text.startswith("error: ")
        assert words in text
        assert "Traceback" not in text


@pytest.mark.parametrize("argument", ["--help", "--version"])
def test_help_and_version_import_nothing_heavy(argument):
    code = (
        "import sys\nfrom cinemae.train.cli.train import main\n"
        f"try:\n    main([{argument!r}])\nexcept SystemExit as stop:\n    assert not stop.code\n"
        "heavy = {'torch', 'onnxruntime', 'matplotlib', 'numpy', 'pydantic', 'sklearn'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
