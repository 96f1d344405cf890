"""Commands of training and export under strace: what they write, connect to, start, and read from pickles."""

from __future__ import annotations

import re

import pytest
from published_layouts import TINY, fair_shapes, fair_state, write_fair
from strace import can_trace, outside, traced
from training_tree import add

pytestmark = [pytest.mark.attack, pytest.mark.slow, pytest.mark.timeout(1800)]
WEIGHTS = "mae.pth"
"""Weights in a pickle, as they are published: the reader is torch's for tensors alone."""
DATA = ("data", "-q", "--threads", "1")
COMMANDS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "extract": (("train", "extract", *DATA, "--backbone", WEIGHTS), ("runs/cache",)),
    "fit": (("train", "fit", "-q", "--epochs", "2", "--held-out", "0.3"), ("runs/checkpoint", "runs/last")),
    "calibrate": (("train", "calibrate", "--false-alarm", "0.5", "--miss", "0.4"), ("runs/checkpoint",)),
    "eval": (("train", "eval", "last", *DATA), ("runs/checkpoint",)),
    "export": (("export", "runs/checkpoint", "--out", "exported"), ("exported",)),
    "make": (
        ("make", *DATA, "--backbone", WEIGHTS, "--no-tiers", "--cache", "other"), ("models", "other", "runs/last"),
    ),
}
"""Arguments, and the files and folders that they name or the help states; each reads what those before it wrote."""
STARTED = re.compile(r'execve\("(/sbin/ldconfig", \["/sbin/ldconfig", "-p"\]|(/\w+)*/fc-list", \["fc-list")')
"""Programs that docs/security.md names: libraries of torch and matplotlib start them."""


def test_commands_with_torch_keep_the_promises_on_files_network_programs_and_pickles(tmp_path):
    if not can_trace(tmp_path):
        pytest.skip("needs strace, allowed to trace: apt-get install strace")
    place = tmp_path / "work"
    for generator in ("gen_a", "gen_b"):
        add(place / "data", generator, "train", 40)
        add(place / "data", generator, "val", 3)
    write_fair(place / WEIGHTS, fair_state(fair_shapes(**TINY)))
    wrong = {}
    for name, (arguments, stated) in COMMANDS.items():
        done = traced(place, arguments)
        assert done.code == 0, (name, done.errors)
        started = [line for line in done.started if not STARTED.search(line)]
        print(f"{name}: {len(done.written)} paths written, {len(done.started)} programs started")
        if files := outside(done, stated):
            wrong[name, "files"] = files
        for what, found in (("sockets", done.sockets), ("programs", started), ("pickles", done.pickled)):
            if found:
                wrong[name, what] = list(found)[:5]
    assert wrong == {}
