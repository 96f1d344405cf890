"""The programs and the notebook in `examples/` run as they stand, on rendered pictures and tiny models."""

import csv
import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from cinemae.train.features.sample_list import read_recorded
from pictures import picture
from training_tree import render

EXAMPLES = Path(__file__).parents[1] / "examples"


def run(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> dict:
    """Execute an example in `folder`; returns its variables."""
    monkeypatch.chdir(folder)
    monkeypatch.setattr("sys.argv", [name, *arguments])
    source = (EXAMPLES / name).read_text("utf-8")
    if name.endswith(".ipynb"):
        cells = json.loads(source)["cells"]
        assert all(not cell.get("outputs") for cell in cells), "strip the outputs before you commit"
        source = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    variables = {"__name__": "example"}
    exec(compile(source, name, "exec"), variables)
    return variables


@pytest.fixture
def bundled(tiny_engine, monkeypatch):
    """The tiny engine in place of the bundled one."""
    monkeypatch.setattr("cinemae.runtime.engines.load.bundled_path", lambda: tiny_engine)


def test_score_folder(bundled, tmp_path, monkeypatch, capsys):
    (tmp_path / "photos" / "deeper").mkdir(parents=True)
    for i in range(3):
        picture(120, 90, i).save(tmp_path / "photos" / "deeper" / f"{i}.jpg")
    (tmp_path / "photos" / "broken.png").write_bytes(b"no image")
    run("score_folder.py", tmp_path, monkeypatch)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4
    assert "broken.png" in lines[-1]
    run("score_folder.py", tmp_path, monkeypatch, "photos/deeper")
    assert len(capsys.readouterr().out.splitlines()) == 3
    with pytest.raises(SystemExit, match="none: holds no images; name a folder"):
        run("score_folder.py", tmp_path, monkeypatch, "none")


@pytest.mark.slow
def test_train_then_export(tiny_weights, tmp_path, monkeypatch, capsys):
    shutil.copy(tiny_weights, tmp_path / "backbone.safetensors")
    picture().save(tmp_path / "photo.jpg")
    with (tmp_path / "images.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(("path", "label", "generator", "split"))
        for i in range(160):
            render(i % 2, i, (80, 72)).save(tmp_path / f"{i}.png")
            rows.writerow((f"{i}.png", ("real", "ai")[i % 2], "gen_a", "train" if i < 120 else "test"))
    run("train_on_csv.py", tmp_path, monkeypatch)
    assert "gen_a" in capsys.readouterr().out
    lines = (tmp_path / "images.csv").read_text().splitlines()  # 30 images are moved to test
    lines[1:31] = [line.replace("train", "test") for line in lines[1:31]]
    (tmp_path / "images.csv").write_text("\n".join(lines))
    run("train_on_csv.py", tmp_path, monkeypatch)
    fitted = read_recorded(tmp_path / "runs" / "checkpoint" / "samples.jsonl")
    assert {Path(sample.path).name for sample in fitted} == {f"{i}.png" for i in range(30, 120)}
    for arguments in (("none.csv",), ("images.csv", "none.pth")):
        with pytest.raises(SystemExit, match=r"error: none\.\w+: no such file or folder"):
            run("train_on_csv.py", tmp_path, monkeypatch, *arguments)
    run("export_and_compare.py", tmp_path, monkeypatch, "0.png")
    assert "<Record 0.png: uncertain, P(AI) " in capsys.readouterr().out


def test_call_server(tiny_manifest, tmp_path, monkeypatch, capsys):
    pytest.importorskip("fastapi")
    from serve_tools import ArithmeticEngine, serving

    picture().save(tmp_path / "photo.jpg")
    picture().save(tmp_path / "my photo.png")
    with serving(ArithmeticEngine(tiny_manifest)) as (address, _):
        monkeypatch.setenv("CINEMAE_SERVER", address)
        run("call_server.py", tmp_path, monkeypatch)
        assert capsys.readouterr().out.startswith("photo.jpg ")
        run("call_server.py", tmp_path, monkeypatch, "my photo.png")
        assert capsys.readouterr().out.startswith("my photo.png ")
        (tmp_path / "text.jpg").write_bytes(b"no image")
        with pytest.raises(SystemExit, match=r"^text\.jpg: not a readable image .* \(HTTP 415\)$"):
            run("call_server.py", tmp_path, monkeypatch, "text.jpg")
        with pytest.raises(SystemExit, match=r"none\.jpg: no such image"):
            run("call_server.py", tmp_path, monkeypatch, "none.jpg")


def test_call_server_without_a_server(tmp_path):
    (tmp_path / "photo.jpg").write_bytes(b"an image")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"http://127.0.0.1:{listener.getsockname()[1]}"
    command = [sys.executable, str(EXAMPLES / "call_server.py")]
    environment = {**os.environ, "CINEMAE_SERVER": address}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith(f"no server answers at {address}")
    assert done.stderr.endswith("start one with: cinemae serve\n")
    assert done.stderr.count("\n") == 1


def test_heatmaps_notebook(bundled, tmp_path, monkeypatch):
    picture().save(tmp_path / "photo.jpg")
    found = run("heatmaps.ipynb", tmp_path, monkeypatch)
    assert found["lcas"].shape == (4, 4)


def test_every_example_is_run_here():
    tested = Path(__file__).read_text("utf-8")
    assert [path.name for path in EXAMPLES.iterdir() if path.is_file() and f'"{path.name}"' not in tested] == []
