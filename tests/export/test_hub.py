"""Engines on the Hugging Face Hub, against one on this machine: pinned, cached, offline, pushed. Never the real one."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from cinemae.export.hub import card, figures_of, repository
from cinemae.runtime.core.errors import MissingDependencyError, UsageError
from cinemae.runtime.core.files import file_sha256
from cinemae.runtime.engines.file.header import read_manifest
from cinemae.runtime.engines.hub import HubAddress
from cinemae.runtime.scan.samples import sample_paths
from fake_hub import fake_hub

pytest.importorskip("huggingface_hub", reason="needs the hub extra")

ENGINE = "hf://org/repo/engines/tiny.onnx"


@pytest.fixture
def hub():
    with fake_hub() as found:
        yield found


@pytest.fixture
def run(hub, tmp_path):
    """`cinemae-run` or `cinemae-export` in a process whose hub is the fake one."""
    environment = {
        **os.environ, "HF_ENDPOINT": hub.address, "HF_HUB_CACHE": str(tmp_path / "cache"), "HF_HUB_DISABLE_XET": "1",
        "HF_TOKEN": "hf_test", "HF_HUB_DISABLE_PROGRESS_BARS": "1", "NO_PROXY": "127.0.0.1,localhost",
    }

    def start(*arguments, module="runtime.cli.run"):
        command = [sys.executable, "-c", f"from cinemae.{module} import main; main()", *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120, cwd=tmp_path)

    return start


def score(run, engine):
    return run(sample_paths()[0], "--engine", engine, "-q")


def test_an_engine_is_downloaded_once_and_then_used_without_a_network(hub, run, tiny_engine):
    hub.commit("org/repo", {"engines/tiny.onnx": tiny_engine.read_bytes()})
    first = score(run, ENGINE)
    assert first.returncode == 0, first.stderr
    assert "HEAD /org/repo/resolve/main/engines/tiny.onnx" in hub.requests
    assert sum(request.startswith("GET /cdn/") for request in hub.requests) == 1
    hub.requests.clear()
    assert score(run, f"{ENGINE}@main").stdout == first.stdout
    assert hub.requests == []


def test_a_branch_that_moves_changes_no_score(hub, run, tiny_engine):
    hub.commit("org/repo", {"engines/tiny.onnx": tiny_engine.read_bytes()})
    first = score(run, ENGINE).stdout
    moved = hub.commit("org/repo", {"engines/tiny.onnx": b"another engine"})
    assert score(run, ENGINE).stdout == first
    assert "not an ONNX" in score(run, f"{ENGINE}@{moved}").stderr


def test_other_bytes_than_those_pinned_are_refused(hub, run, tiny_engine, tmp_path):
    hub.commit("org/repo", {"engines/tiny.onnx": tiny_engine.read_bytes()})
    wrong = score(run, f"{ENGINE}#sha256={'0' * 64}")
    assert wrong.returncode == 3
    assert f"its SHA-256 is {file_sha256(tiny_engine)}, pinned is {'0' * 64}" in wrong.stderr
    assert score(run, f"{ENGINE}#sha256={file_sha256(tiny_engine)}").returncode == 0
    (path,) = (tmp_path / "cache").rglob("tiny.onnx")
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.resolve().write_bytes(data)
    damaged = score(run, ENGINE)
    assert damaged.returncode == 3
    assert "pinned is" in damaged.stderr
    assert f"remove {path}" in damaged.stderr


def test_what_is_not_there_is_one_sentence(hub, run, tiny_engine):
    hub.commit("org/repo", {"a.onnx": b""})
    for engine in (ENGINE, "hf://org/gone/a.onnx", "hf://org/repo/a.onnx@v9"):
        found = score(run, engine)
        assert found.returncode == 3
        assert found.stderr.startswith(f"error: {engine}: cannot be fetched")
        assert found.stderr.count("\n") == 1


def test_addresses():
    for wrong in ("repo/a.onnx", "org/repo/../../a.onnx", "org/repo/a.plan", "org/repo/a.onnx#sha256=12"):
        with pytest.raises(UsageError, match=r"hf://|plan can run code"):
            HubAddress.parse(f"hf://{wrong}")
    assert HubAddress.parse(f"hf://o/r/d/e.onnx@v1#sha256={'a' * 64}") == HubAddress("o/r", "d/e.onnx", "v1", "a" * 64)
    assert HubAddress.parse("hf://o/r/e.onnx") == HubAddress("o/r", "e.onnx", "main", None)
    assert repository("hf://o/r") == "o/r"
    with pytest.raises(UsageError, match="must be hf://org/repo"):
        repository("o/r")


def test_without_the_library_the_message_names_the_extra(monkeypatch):
    from cinemae.runtime import Detector

    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(MissingDependencyError, match=r"pip install .*\[hub\]"):
        Detector.load(ENGINE)


def test_push_writes_engine_card_and_figures(hub, run, tiny_engine, tmp_path):
    engine = shutil.copy(tiny_engine, tmp_path / "mine.onnx")
    (tmp_path / "mine.report.md").write_text("a report")
    found = run(engine, "--push", "hf://org/new", module="export.cli")
    assert found.returncode == 0, found.stderr
    ((oid, files),) = hub.commits["org/new"]
    assert set(files) == {"mine.onnx", "README.md", "figures/mine.report.md"}
    assert files["mine.onnx"] == tiny_engine.read_bytes()
    pinned = f"hf://org/new/mine.onnx@{oid}#sha256={file_sha256(tiny_engine)}"
    assert f"next: cinemae run PHOTOS --engine '{pinned}'" in found.stderr
    assert score(run, pinned).returncode == 0
    refused = run(engine, "--push", "org/new", module="export.cli")
    assert (refused.returncode, "must be hf://org/repo" in refused.stderr) == (2, True)


def test_the_card_states_promises_figures_and_terms():
    manifest = read_manifest(Path(__file__).parents[2] / "models" / "cinemae-demo.onnx")
    text = card(manifest, "hf://o/r/e.onnx@main#sha256=0")
    head = text.split("---")[1]
    assert "license: other" in head  # the weights' own terms
    figure = f"| glid3_xl/test | {manifest.metrics['glid3_xl/test']['auc']:.4f} |"
    for expected in ("A demonstration engine", "at most 5 % of the real images of a source get this", figure):
        assert expected in text
    assert "license: apache-2.0" in card(manifest.model_copy(update={"licence": "Apache-2.0"}), "x")
    other = card(manifest.model_copy(update={"licence": "Research | only\n---"}), "x")
    assert "license: other\nlicense_name: 'Research \\\\| only ---'" in other


def test_figures_of_a_checkpoint_are_those_that_eval_writes(fitted, image_tree, tmp_path, monkeypatch):
    from cinemae.train.cli.train import main

    shutil.copytree(fitted / "runs", tmp_path / "runs")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit):
        main(["eval", "runs/checkpoint", str(image_tree), "-q", "--resamples", "0"])
    found = figures_of(tmp_path / "e.onnx", Path("runs/checkpoint"))
    assert [path.name for path in found] == ["eval.csv", "eval.json", "eval.md", "reliability.png", "roc.png"]
