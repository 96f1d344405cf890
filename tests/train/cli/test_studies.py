"""The study commands as a user types them: output, warnings on stderr, errors in one line, light imports."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from cinemae.train.cli.train import main
from cinemae.train.data.layouts import LAYOUT_NAMES
from PIL import Image

COMMANDS = ("audit", "controls", "robustness", "ablate", "analyze", "paper")
HEAVY = "torch,matplotlib,sklearn,numpy"


@pytest.fixture(scope="module")
def leaky(tmp_path_factory) -> Path:
    """Fakes as PNG, reals as JPEG."""
    root = tmp_path_factory.mktemp("leaky")
    rng = np.random.default_rng(0)
    for i in range(12):
        for label, suffix in (("ai", ".png"), ("nature", ".JPEG")):
            path = root / "ADM" / "imagenet_ai_0508_adm" / "train" / label / f"{i}{suffix}"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(rng.integers(0, 256, (40, 40, 3), dtype=np.uint8)).save(path)
    return root


def run(*arguments: str) -> int:
    """Exit code of `cinemae-train`."""
    with pytest.raises(SystemExit) as stop:
        main(list(arguments))
    return int(stop.value.code or 0)


def test_audit_prints_tables_and_warns_on_stderr(leaky, tmp_path, capsys):
    assert run("audit", str(leaky), "--out", str(tmp_path), "--quiet") == 0
    shown = capsys.readouterr()
    assert "Containers and JPEG quality" in shown.out
    assert "JPEG 100 %" in shown.out
    assert "|" not in shown.out, "tables are aligned, not Markdown's source"
    assert "warning: A classifier that sees only container" in shown.err
    assert (tmp_path / "audit.json").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["audit", "/no/such/folder"], "no such file or folder"),
        (["audit", "DATA", "--generator", "sdxl"], "no generator sdxl"),
        (["ablate", "DATA", "--backbone", "x", "--parts", "colour"], "unknown ablation 'colour'"),
        (["analyze", "DATA", "--backbone", "x", "--parts", "colour"], "unknown analysis 'colour'"),
        (["controls", "DATA", "--backbone", "x", "--report-only", "sdxl"], "no such generator"),
        (["robustness", "DATA", "--backbone", "x", "--train-on", "wukong"], "no training split of wukong"),
    ],
)
def test_errors_are_one_line_with_the_fix(leaky, capsys, arguments, words):
    assert run(*(str(leaky) if a == "DATA" else a for a in arguments)) == 2
    shown = capsys.readouterr().err.strip().splitlines()[-1]
    assert shown.startswith("error: ")
    assert words in shown


def test_help_is_whole_at_80_columns_and_names_the_layouts(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    assert run("--help") == 0
    commands = capsys.readouterr().out.partition("Commands:\n")[2].splitlines()
    assert len(commands) == 11
    assert all(line.endswith(".") and not line.endswith("...") and len(line) <= 80 for line in commands)
    for command in ("extract", "eval", *COMMANDS):
        assert run(command, "--help") == 0
        shown = " ".join(capsys.readouterr().out.split())
        assert "|".join(LAYOUT_NAMES) in shown, command


def test_help_is_light():
    """`--help` of every study command imports none of the heavy packages."""
    code = (
        "import sys\nfrom cinemae.train.cli.train import main\n"
        "for command in sys.argv[1:]:\n"
        "    try:\n        main([command, '--help'])\n    except SystemExit as stop:\n        assert not stop.code\n"
        f"print('HEAVY', [m for m in '{HEAVY}'.split(',') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code, *COMMANDS], capture_output=True, text=True, check=True)
    assert "HEAVY []" in done.stdout
    assert done.stdout.count("Usage") == len(COMMANDS)
