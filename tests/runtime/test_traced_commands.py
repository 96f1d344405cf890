"""Commands that score, under strace: files are written only where the help says, no socket leaves the machine, no
program is started and no pickle read."""

from __future__ import annotations

import shutil
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest
from pictures import folder_of
from strace import can_trace, outside, traced

pytestmark = [pytest.mark.attack, pytest.mark.slow, pytest.mark.timeout(1800)]
PORT = 18765


def until(done: Callable[[], object], seconds: float = 120) -> None:
    """Wait for a true answer; connections that are refused meanwhile are no failure."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            if done():
                return
        except OSError:
            pass
        time.sleep(0.2)
    raise AssertionError("no answer in time")


@pytest.fixture(scope="module")
def place(tmp_path_factory, tiny_engine):
    """A working folder with images and an engine."""
    place = tmp_path_factory.mktemp("traced") / "work"
    if not can_trace(tmp_path_factory.mktemp("probe")):
        pytest.skip("needs strace, allowed to trace: apt-get install strace")
    folder_of(place / "in", 8)
    shutil.copy(tiny_engine, place / "engine.onnx")
    return place


def post(place: Path) -> None:
    """Ask a server for a page, a score and a heatmap."""
    base = f"http://127.0.0.1:{PORT}"
    until(lambda: urllib.request.urlopen(f"{base}/readyz").status == 200)
    image = next((place / "in").rglob("*.png")).read_bytes()
    for url, data in (("/", None), ("/v1/detect", image), ("/metrics", None)):
        request = urllib.request.Request(base + url, data, {"Content-Type": "image/png"})
        with urllib.request.urlopen(request) as answer:
            assert answer.status == 200


SCORING = ("--engine", "engine.onnx", "--device", "cpu")
COMMANDS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "run": (("run", "in", *SCORING, "--out", "r.jsonl", "--report", "r.html", "--heatmaps", "maps"),
            ("r.jsonl", "r.html", "maps")),
    "report": (("report", "r.jsonl", "--engine", "engine.onnx", "--out", "again.html"), ("again.html",)),
    "doctor": (("doctor", *SCORING), ()),
    "bench": (("bench", "in", *SCORING, "--seconds", "0.1", "--out", "b.json"), ("b.json",)),
    "serve": (("serve", *SCORING, "--port", str(PORT)), ()),
    "watch": (("watch", "in", *SCORING, "--out", "w.jsonl"), ("w.jsonl",)),
}
"""Arguments, and the files and folders that they name; `report` reads what `run` wrote."""


def test_commands_write_where_they_say_and_call_nobody(place):
    uses = {
        "serve": lambda: post(place),
        "watch": lambda: until(lambda: len((place / "w.jsonl").read_text().splitlines()) == 8),
    }
    wrong = {}
    for name, (arguments, stated) in COMMANDS.items():
        done = traced(place, arguments, uses.get(name))
        assert done.code in (0, 130), (name, done.errors)
        own = ("socket(", "127.0.0.1") if name == "serve" else ()
        calls = [line for line in done.sockets if "connect(" in line or not any(word in line for word in own)]
        print(f"{name}: {len(done.written)} paths written, {len(done.sockets)} calls on sockets")
        started = [] if name == "doctor" else done.started  # it tries libraries in processes of their own
        if (files := outside(done, stated)) or calls or started or done.pickled:
            wrong[name] = (files, calls[:5], started, done.pickled)
    assert wrong == {}
