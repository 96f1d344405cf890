"""Commands that score, under strace: files are written only where the help says, and no socket leaves the machine."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from pictures import folder_of
from strace import can_trace

pytestmark = [pytest.mark.attack, pytest.mark.slow, pytest.mark.timeout(1800)]
PORT = 18765
CALLS = (
    "open,openat,creat,mkdir,mkdirat,rename,renameat,renameat2,unlink,unlinkat,rmdir,link,linkat,symlink,symlinkat,"
    "truncate,chmod,fchmodat,mknod,mknodat,network"
)
PATH = re.compile(r'(?:(?:AT_FDCWD|\d+)<([^>]*)>, )?"((?:[^"\\]|\\.)*)"')
ANYWHERE = re.compile(r"/dev/(null|tty|shm/.*|urandom)|/proc/(self|\d+)/.*")
"""Neither is a file on a disk. /dev/shm: semaphores and shared memory of worker processes, without names at the end."""


@dataclass(frozen=True)
class Traced:
    """code: the exit code. errors: stderr. written: paths from the working folder. sockets: calls on AF_INET."""

    code: int
    errors: str
    written: set[str]
    sockets: list[str]


def written(trace: str, folder: Path) -> set[str]:
    """The paths that a call changed, or opened to write, of those that succeeded."""
    found = set()
    for line in trace.splitlines():
        call = re.match(r"\d+ +(\w+)\(", line)
        reads = call is not None and call[1].startswith("open") and not re.search("O_WRONLY|O_RDWR|O_CREAT", line)
        if call is not None and not reads and " = -1 " not in line and call[1] in CALLS.split(","):
            for base, name in PATH.findall(line):
                path = os.path.normpath(folder / base / name)
                if not ANYWHERE.fullmatch(path):
                    found.add(os.path.relpath(path, folder))
    return found


def traced(place: Path, arguments: tuple[str, ...], use: Callable[[], None] | None = None) -> Traced:
    """A command to its end in `place`, with home and temporary folder there; `use` ends with its interrupt."""
    trace, home, scratch, pid = (place.parent / name for name in ("trace", "home", "scratch", "pid"))
    for folder in (home, scratch):
        folder.mkdir(exist_ok=True)
    command = ["strace", "-f", "-y", "-qq", "--seccomp-bpf", "-o", str(trace), "-e", f"trace={CALLS}"]
    command += ["sh", "-c", f'echo $$ > "{pid}"; exec "$@"', "sh", sys.executable, "-m", "cinemae", *arguments]
    kept = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
    environment = {**kept, "HOME": str(home), "TMPDIR": str(scratch), "PYTHONDONTWRITEBYTECODE": "1"}
    streams = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, cwd=place, env=environment, text=True, **streams) as process:
        if use is not None:
            use()
            os.kill(int(pid.read_text()), signal.SIGINT)
        errors = process.communicate()[1]
    text = trace.read_text(errors="replace")
    assert list(home.iterdir()) == []
    found = {path for path in written(text, place) if not path.startswith(("../scratch", "../pid"))}
    return Traced(process.returncode, errors, found, [line for line in text.splitlines() if "AF_INET" in line])


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
        names = {path.removeprefix(".") for path in done.written}  # "" is a file without a name
        outside = {path for path in names if not path.startswith(stated or ("none",)) and (path or not stated)}
        own = ("socket(", "127.0.0.1") if name == "serve" else ()
        calls = [line for line in done.sockets if "connect(" in line or not any(word in line for word in own)]
        print(f"{name}: {len(done.written)} paths written, {len(done.sockets)} calls on sockets")
        if outside or calls:
            wrong[name] = (outside, calls[:5])
    assert wrong == {}
