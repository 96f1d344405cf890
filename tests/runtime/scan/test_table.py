"""The table on a terminal: codes with a legend, lines that end between words, completion of the commands."""

from __future__ import annotations

import importlib
import io
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from cinemae.runtime.core.calibration import Calibration
from cinemae.runtime.evidence.fact import Evidence
from cinemae.runtime.scan.table import TableWriter
from cinemae.runtime.scoring import reasons
from cinemae.runtime.scoring.reading import CONTRARY, Reading
from cinemae.runtime.scoring.reason_codes import CODES, reason_code
from cinemae.runtime.scoring.record import Record
from cinemae.runtime.scoring.verdict import Decision
from rich.console import Console

LONG = "archive/a folder with spaces/" + "x" * 90 + ".jpg"
ERROR = "not a readable image: its data end in the middle of the second scan, where the file was cut off"
RECORDS = [
    Record("photos/a.jpg", "ok", verdict="ai", probability=0.97),
    Record("photos/" + "b" * 30 + ".jpg", "ok", verdict="real", probability=0.6,
           reasons=(reasons.GRAYSCALE, reasons.CROPPED.format(12), reasons.LOW_S2, "a reason that has no code yet")),
    Record(LONG, "ok", verdict="uncertain", probability=0.5, reasons=(reasons.BAND,)),
    Record("c.jpg", "error", ERROR),
    Record("d.jpg", "ok", verdict="real", probability=0.1,
           evidence=(Evidence("camera", "EXIF", "names the camera " + "Maker " * 15, "A"),)),
]


def table(width: int, **console) -> str:
    calibration = Calibration(ai_from=1.0, real_below=-1.0, false_alarm=0.05, miss=0.05)
    out = io.StringIO()
    writer = TableWriter(Console(file=out, width=width, **console), Reading.of(calibration, Decision.of(calibration)))
    for record in RECORDS:
        writer.write(record)
    writer.finish()
    return out.getvalue()


@pytest.mark.parametrize("width", [80, 60])
def test_lines_end_between_words(width):
    shown = table(width)
    lines = shown.splitlines()
    assert [line for line in lines if len(line) > width] == [f"  {LONG}"]
    assert ERROR in " ".join(shown.split())
    assert "a reason that has no code yet" in " ".join(shown.split())
    assert "[grey crop s2- prior]" in shown
    assert "\x1b" not in shown


@pytest.mark.parametrize("no_color", ["", "1"])
def test_no_color_leaves_bold_and_dim_alone(monkeypatch, no_color):
    """https://no-color.org: set and not empty, no colour whatever the terminal."""
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("NO_COLOR", no_color)
    found = re.findall(r"\x1b\[([\d;]*)m", table(80, force_terminal=True))
    codes = set(";".join(found).split(";"))
    assert {"0", "1", "2"} <= codes
    assert bool(codes - {"0", "1", "2"}) == (not no_color)


def test_the_legend_names_each_code_once_and_no_other():
    shown = " ".join(table(80).split())
    assert shown.count(reasons.GRAYSCALE) == 1
    assert "crop extreme aspect ratio: only N % of the image" in shown
    assert reasons.TINY not in shown


def test_every_reason_has_a_code():
    texts = [value for name, value in vars(reasons).items() if name.isupper() and isinstance(value, str)]
    sentences = [text.replace("{:.2g}", "12") for text in texts]
    assert len(sentences) >= 10
    assert [sentence for sentence in sentences if reason_code(sentence) is None] == []
    assert len({reason_code(sentence) for sentence in sentences}) == len(sentences) == len(CODES) - 1


@pytest.mark.parametrize(
    ("module", "option"),
    [("runtime.cli.run", "--fail-on-ai"), ("runtime.serve.cli", "--allow-host"), ("export.cli", "--fp16")],
)
def test_options_complete_in_a_shell(module, option):
    """As the script of `--show-completion` asks (typer 0.29.2, _completion_shared.py, COMPLETION_SCRIPT_BASH)."""
    code = f"import sys; sys.argv[0] = 'cinemae-x'; from cinemae.{module} import main; main()"
    asked = {"_CINEMAE_X_COMPLETE": "complete_bash", "COMP_WORDS": f"cinemae-x {option[:5]}", "COMP_CWORD": "1"}
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ, **asked}, timeout=120
    )
    assert option in found.stdout.split()


def test_every_command_offers_completion():
    for module in ("runtime.cli.run", "runtime.cli.bench", "runtime.cli.doctor", "runtime.serve.cli", "export.cli"):
        app = importlib.import_module(f"cinemae.{module}").app
        assert app._add_completion


def test_the_documents_list_every_code():
    text = (Path(__file__).parents[3] / "docs" / "records.md").read_text("utf-8")
    listed = text.split("## Reasons")[1].split("##")[0]
    assert [code for code in CODES if f"`{code}`" not in listed] == []


def coloured(reading, records):
    out = io.StringIO()
    writer = TableWriter(Console(file=out, force_terminal=True, color_system="standard", width=200), reading)
    for record in records:
        writer.write(record)
    writer.finish()
    return out.getvalue()


def test_a_table_begins_with_what_its_verdicts_promise():
    calibration = Calibration(ai_from=1.0, real_below=-1.0, false_alarm=0.05, miss=0.05)
    reading = Reading.of(calibration, Decision.of(calibration), prior=0.9)
    green, yellow = "\x1b[32mreal      \x1b[0m", "\x1b[33mreal      \x1b[0m"
    records = [Record("a", "ok", verdict="real", probability=p) for p in (0.2, 0.6)]
    lines = coloured(reading, records).splitlines()
    assert "ai: at most 5 % of real images get this; real: at most 5 % of AI images get this" in lines[0]
    assert "assuming that 90 % of the images are AI-generated" in lines[1]
    assert lines[3].startswith(green)
    assert lines[4].startswith(yellow)  # never green beside a probability above one half
    assert "[prior]" in lines[4]
    assert CONTRARY in lines[5]
    assert len(lines) == 6
    assert coloured(reading, records * 20).count("at most 5 % of real images") == 2
