"""`--help` of every command: whole at 80 columns, and without a heavy import."""

from __future__ import annotations

import subprocess
import sys

import pytest
from cinemae.train.cli.train import app, main
from cinemae.train.data.layouts import LAYOUT_NAMES

COMMANDS = ("pretrain", "extract", "fit", "calibrate", "eval", "audit", "controls", "robustness", "ablate", "analyze",
            "paper")
CODE = """
import sys
from cinemae.train.cli.train import main
for command in (["--help"], ["--version"], *([name, "--help"] for name in sys.argv[1:])):
    try:
        main(command)
    except SystemExit as stop:
        assert not stop.code
heavy = {"torch", "torchvision", "timm", "onnxruntime", "matplotlib", "numpy", "sklearn", "scipy"}
assert not heavy & set(sys.modules), heavy & set(sys.modules)
"""


def test_help_and_version_import_nothing_heavy():
    done = subprocess.run([sys.executable, "-c", CODE, *COMMANDS], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("Usage") == 1 + len(COMMANDS) == 1 + len(app.registered_commands)


def test_help_is_whole_at_80_columns_and_names_the_layouts(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    for arguments in (["--help"], ["extract", "--help"], ["paper", "--help"]):
        with pytest.raises(SystemExit):
            main(arguments)
    shown, *others = capsys.readouterr().out.split("Usage")[1:]
    commands = shown.partition("Commands:\n")[2].split("\n")[: len(COMMANDS)]
    assert tuple(line.split()[0] for line in commands) == COMMANDS
    assert all(line.endswith(".") and not line.endswith("...") and len(line) <= 80 for line in commands)
    assert all("|".join(LAYOUT_NAMES) in other for other in others)
