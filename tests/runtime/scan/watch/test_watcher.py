"""Watching folders: complete files once each, whatever is copied, renamed, rewritten or half there."""

from __future__ import annotations

import ast
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
from cinemae.runtime.core.errors import UsageError
from cinemae.runtime.scan.targets import store_path
from cinemae.runtime.scan.watch.scan import Command, earlier_scores
from cinemae.runtime.scan.watch.watcher import EMPTY_FACTOR, Watcher, ignored, watch
from cinemae.runtime.scoring.record import to_json
from cinemae.runtime.scoring.verdict import run_of
from pictures import heeds_sigint
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from records import record
from report_samples import picture

SETTLE = 2.0


def image(path: Path, seed: int = 0) -> Path:
    """A small PNG."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture(seed)).save(path, "PNG")
    return path


def names(paths: list[str]) -> list[str]:
    return [os.path.basename(path) for path in paths]


@pytest.fixture
def settled(tmp_path):
    """What two looks, a settling time apart, find in the folder from a time on."""
    (tmp_path / "in").mkdir()
    watcher = Watcher([str(tmp_path / "in")], SETTLE)
    return lambda now: names(watcher.poll(now) + watcher.poll(now + SETTLE))


def test_a_file_counts_when_it_has_stood_still(tmp_path):
    watcher = Watcher([str(tmp_path)], SETTLE)
    path = tmp_path / "a.png"
    path.write_bytes(b"1")
    (tmp_path / "empty.png").write_bytes(b"")
    assert watcher.poll(0) == []
    path.write_bytes(b"12")  # still growing
    assert watcher.poll(SETTLE) == []
    assert watcher.poll(1.5 * SETTLE) == []
    assert names(watcher.poll(2 * SETTLE)) == ["a.png"]
    assert names(watcher.poll(EMPTY_FACTOR * SETTLE)) == ["empty.png"]
    assert watcher.poll(9 * SETTLE) == []


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.png", False), ("b/a.png", False), (".a.png", True), (".sync/a.png", True), ("a.png.part", True),
        ("a.part.png", True), ("~$a.png", True), ("@eaDir/a.png", True), ("a.crdownload", True), ("apart.png", False),
    ],
)
def test_temporary_names_are_ignored(name, expected):
    assert ignored(os.path.join("/in/.hidden/root", name), "/in/.hidden/root") is expected


def test_files_are_named_once_unless_they_are_new(tmp_path, settled):
    root = tmp_path / "in"
    (root / "gone.png").symlink_to(root / "nowhere")
    (root / "folder.png").mkdir()
    first, temporary = image(root / "a.png"), image(root / ".d.png.tmp123")
    image(root / "b" / "c.png")
    assert settled(0) == ["a.png", "c.png"]
    first.rename(root / "renamed.png")
    assert settled(10) == []
    temporary.rename(root / "d.png")
    (root / "copy.png").write_bytes((root / "renamed.png").read_bytes())
    assert settled(20) == ["copy.png", "d.png"]
    os.utime(image(root / "d.png", seed=1), ns=(1, 1))
    assert settled(30) == ["d.png"]


def test_a_share_that_drops_out_is_not_scored_again(tmp_path):
    root = tmp_path / "share"
    image(root / "a.png")
    watcher = Watcher([str(root)], SETTLE)
    assert names(watcher.poll(0) + watcher.poll(SETTLE)) == ["a.png"]
    root.rename(tmp_path / "away")
    assert watcher.poll(10) == []
    assert "share" in watcher.problems[0]
    root.mkdir()  # the empty mount point
    assert (watcher.poll(20), watcher.problems) == ([], ())
    root.rmdir()
    (tmp_path / "away").rename(root)
    assert watcher.poll(30) + watcher.poll(30 + SETTLE) == []


def test_what_cannot_be_watched_is_named(tmp_path):
    for folder, settle in (("no", 2.0), (".", -1.0), (".", float("nan")), (".", float("inf"))):
        with pytest.raises(UsageError):
            Watcher([str(tmp_path / folder)], settle)


def test_watch_ends_when_told(tmp_path):
    image(tmp_path / "a.png")
    stop, seen = threading.Event(), []
    for ready in watch(Watcher([str(tmp_path)], 0.0), stop, 0.01):
        seen += ready
        stop.set()
    assert names(seen) == ["a.png"]


# ---- the command ---------------------------------------------------------------------------------------------------


def records(out: Path) -> list[dict]:
    """Whole records; a line that is still being written, or was torn, does not count."""
    lines = out.read_text().splitlines(keepends=True) if out.exists() else []
    return [json.loads(line) for line in lines if line.endswith("\n")]


def wait_for(condition, process: subprocess.Popen, seconds: float = 120.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)


def start(*arguments) -> subprocess.Popen:
    command = [sys.executable, "-m", "cinemae", "watch", "--settle", "0.1", *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=heeds_sigint)


def test_command_appends_restarts_and_stops_cleanly(tmp_path, tiny_engine):
    folder, out = tmp_path / "in", tmp_path / "out.jsonl"
    image(folder / "a.png", 1)
    arguments = (folder, "--engine", tiny_engine, "--out", out, "--heatmaps", folder / "heat")
    process = start(*arguments)
    wait_for(lambda: len(records(out)) == 1, process)
    image(folder / "b.png", 2)
    (folder / "bad.png").write_bytes(b"no image")
    wait_for(lambda: len(records(out)) == 3, process)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 1, errors  # one input failed
    assert "Traceback" not in errors
    assert "3 inputs" in errors
    assert len(list((folder / "heat").rglob("*.png"))) == 2  # which were not scored themselves

    image(folder / "c.png", 3)
    with out.open("ab") as file:
        file.write(b'{"path": "torn')  # as a kill would leave it
    process = start(*arguments)
    wait_for(lambda: len(records(out)) == 4, process)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=120) == 0
    assert [os.path.basename(record["path"]) for record in records(out)] == ["a.png", "b.png", "bad.png", "c.png"]


def test_each_record_has_a_line_and_runs_a_command_without_a_shell(tmp_path, tiny_engine):
    folder, out, got = tmp_path / "in", tmp_path / "out.jsonl", tmp_path / "got"
    script = "import sys; open(sys.argv[1], 'a').write(f'{sys.argv[2:]}{sys.stdin.read()}'); print('said'); sys.exit(7)"
    command = shlex.join([sys.executable, "-c", script, str(got), "{verdict}", "{path}", "{declares}"])
    name = "a $(touch x); {verdict}.png"
    data = PngInfo()
    data.add_text("parameters", "a cat\nSteps: 20, Sampler: Euler a, CFG scale: 7, Seed: 1, Size: 512x512")
    folder.mkdir()
    Image.new("RGB", (80, 80)).save(folder / name, "PNG", pnginfo=data)
    process = start(folder, "--engine", tiny_engine, "--out", out, "--exec", command)
    wait_for(lambda: got.exists() and got.read_text().endswith("\n"), process)
    process.send_signal(signal.SIGTERM)
    said, errors = process.communicate(timeout=120)
    arguments, _, line = got.read_text().partition("]")
    (one,) = records(out)
    assert json.loads(line) == one
    assert ast.literal_eval(f"{arguments}]") == [one["verdict"], str(folder / name), "ai"]
    assert not said
    row = rf"^{one['verdict']} +[\d.]+%  .*{re.escape(name)}  \[declares AI\]$"
    assert re.search(row, errors, re.MULTILINE), errors
    assert re.search(r"^warning: .*ended with 7$", errors, re.MULTILINE)
    assert "\n1 input: " in errors


def test_a_command_that_cannot_run_is_refused():
    for text in ("", "no-such-program {path}", "echo 'open"):
        with pytest.raises(UsageError, match="--exec"):
            Command(text)


def test_an_out_file_that_cannot_be_continued_is_kept(tmp_path, tiny_manifest):
    out, run = tmp_path / "out.jsonl", run_of(tiny_manifest)
    assert earlier_scores(out, run) == {}
    for text in ("my notes\n", to_json(record("a.png", run=replace(run, prior=0.1))) + "\n"):
        out.write_text(text)
        with pytest.raises(UsageError):
            earlier_scores(out, run)
        assert out.read_text() == text
    out.write_text(to_json(record("a.png", sha256="0", run=run)) + "\n{torn")
    store_path(out).touch()
    with pytest.raises(UsageError, match="was not finished"):
        earlier_scores(out, run)
    store_path(out).unlink()
    assert earlier_scores(out, run) == {"a.png": "0"}
    assert out.read_text().endswith("}\n")
