"""Commands that train and export, under strace: files are written only where the help says, and nobody is called."""

from __future__ import annotations

import pytest
from published_layouts import TINY, fair_shapes, fair_state, write_fair
from strace import breaches, can_trace
from training_tree import PER_CLASS, make_tree

pytestmark = [pytest.mark.attack, pytest.mark.slow, pytest.mark.timeout(1800)]
FONTS = ("../home/.cache", "../home/.config")
"""Where matplotlib keeps the list of fonts that it has found: .cache/matplotlib, .config/matplotlib."""
WEIGHTS = "mae_visualize_vit_base.pth"
COMMANDS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "audit": (("train", "audit", "data"), ()),
    "extract": (("train", "extract", "data", "--backbone", WEIGHTS, "--cache", "cache"), ("cache", "runs")),
    "fit": (("train", "fit", "--cache", "cache", "--out", "head", "--epochs", "2"), ("head", "runs")),
    "calibrate": (("train", "calibrate", "head", "--false-alarm", "0.1"), ("head", "runs")),
    "eval": (("train", "eval", "head", "data", "--cache", "cache", "--out", "eval"),
             ("cache", "head", "eval", "runs", *FONTS)),
    "export": (("export", "head", "--out", "engines"), ("engines",)),
    "make": (("make", "data", "--backbone", WEIGHTS, "--no-tiers"), ("models", "runs", *FONTS)),
}
"""Arguments, and the files and folders that they name or that are the defaults; each reads what earlier ones wrote."""


def test_training_writes_where_it_says_and_calls_nobody(tmp_path, monkeypatch):
    if not can_trace(tmp_path):
        pytest.skip("needs strace, allowed to trace: apt-get install strace")
    place = tmp_path / "work"
    monkeypatch.setitem(PER_CLASS, "train", 40)  # make refuses fewer than 30
    make_tree(place / "data")
    write_fair(place / WEIGHTS, fair_state(fair_shapes(**TINY)))
    wrong = {}
    for name, (arguments, stated) in COMMANDS.items():
        wrong |= breaches(place, name, arguments, stated)
    assert wrong == {}
