"""The table on a terminal: codes with a legend, lines that end between words, colours."""

from __future__ import annotations

import io
import os
import re
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import pytest
from cinemae.runtime.core.calibration import Calibration
from cinemae.runtime.core.text import message
from cinemae.runtime.evidence.fact import Evidence
from cinemae.runtime.scan.table import LEGEND, TableWriter, shared_folder, sorted_table
from cinemae.runtime.scoring.likelihood_ratio import LikelihoodRatio
from cinemae.runtime.scoring.reading import CONTRADICTION, CONTRARY, RATIO
from cinemae.runtime.scoring.reasons import TEXTS
from cinemae.runtime.scoring.record import Failure, Reason
from records import LIKELIHOOD, RUN, record
from rich.console import Console

LONG = "archive/a folder with spaces/" + "x" * 90 + ".jpg"
ERROR = "not a readable image: its data end in the middle of the second scan, where the file was cut off"
UNSEEN = Reason("unseen", "the frames behind a damaged one were not looked at")
RECORDS = [
    record("photos/a.jpg", "ai", probability=0.97,
           likelihood_ratio=LikelihoodRatio.of(Calibration(likelihood=LIKELIHOOD), 2.0)),
    record("photos/" + "b" * 30 + ".jpg", "real", ("grey", "crop", "s2-", UNSEEN), probability=0.6),
    record(LONG, "uncertain", ("band",), probability=0.5),
    record("c.jpg", error=Failure("damaged", ERROR)),
    record("d.jpg", "real", probability=0.1,
           evidence=(Evidence("camera", "EXIF", "names the camera " + "Maker " * 15, "A"),
                     Evidence("jpeg_quality", "JPEG quantisation table", "has JPEG quality 92", "92"))),
]


def table(width, records=RECORDS, run=RUN, folder="", **console) -> str:
    out = io.StringIO()
    writer = TableWriter(Console(file=out, width=width, **console), run, folder)
    for one in records:
        writer.write(one)
    writer.finish()
    return out.getvalue()


def test_the_ratio_has_a_column():
    head, first = (line for line in table(120).splitlines() if "  input" in line or "a.jpg" in line)
    assert head.index("ratio") == first.index("10 (2.9 to 34)")
    assert head.index("input") == first.index("photos/a.jpg")


def test_a_declaration_that_contradicts_the_score_takes_its_colour():
    fact = Evidence("source_type", "XMP", "The file declares itself made by a model", declares="ai")
    shown = table(200, [record("a", "real", probability=0.2, evidence=(fact,))], force_terminal=True,
                  color_system="standard")
    assert "\x1b[33mreal " in shown
    assert "[declared]" in shown
    assert shown.count(CONTRADICTION) == 1


@pytest.mark.parametrize("interrupted", [False, True])
def test_sorted_by_suspicion(interrupted):
    fact = Evidence("generator", "PNG text", "parameters", declares="ai")
    records = [record("real", "real", logit=-3.0), record("broken", error=Failure("damaged", ERROR)),
               record("says so", "real", logit=-4.0, evidence=(fact,)), record("ai", "ai", logit=3.0)]
    by_name = ["ai", "broken", "real", "says so"]
    for sort, expected in (("suspicion", ["says so", "ai", "real", "broken"]), ("name", by_name)):
        out = io.StringIO()
        ends = pytest.raises(KeyboardInterrupt) if interrupted else nullcontext()
        with ends, sorted_table(TableWriter(Console(file=out, width=200), RUN), sort) as writer:
            for one in records:
                writer.write(one)
            assert out.getvalue() == ""
            if interrupted:
                raise KeyboardInterrupt
            writer.finish()
        rows = [line for line in out.getvalue().splitlines() if re.match(r"(ai|real|error)  ", line)]
        assert [re.search(r"(\w+( so)?)(  \[.*)?$", row)[1] for row in rows] == expected


@pytest.mark.parametrize("width", [80, 60])
def test_lines_end_between_words(width):
    shown = table(width)
    lines = shown.splitlines()
    assert [line for line in lines if len(line) > width] == [f"  {LONG}"]
    assert ERROR in " ".join(shown.split())
    for said, is_shown in ((UNSEEN.text, True), ("names the camera Maker Maker", True), ("JPEG quality", False)):
        assert (said in " ".join(shown.split())) == is_shown
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
    assert shown.count(TEXTS["grey"]) == 1
    assert "crop extreme aspect ratio: only N % of the image" in shown
    assert TEXTS["tiny"] not in shown


def test_the_documents_list_every_code():
    text = (Path(__file__).parents[3] / "docs" / "records.md").read_text("utf-8")
    listed = text.split("## Reasons")[1].split("##")[0]
    assert [code for code in LEGEND if f"`{code}`" not in listed] == []


def test_a_table_ends_with_what_its_verdicts_promise():
    green, yellow = "\x1b[32mreal      \x1b[0m", "\x1b[33mreal      \x1b[0m"
    records, run = [record("a", "real", probability=p) for p in (0.2, 0.6)], replace(RUN, prior=0.9)
    console = {"force_terminal": True, "color_system": "standard"}
    lines = table(200, records, run, **console).splitlines()
    assert lines[1].startswith(green)
    assert lines[2].startswith(yellow)  # never green beside a probability above one half
    assert "[prior]" in lines[2]
    assert "ai: at most 5 % of the real images of a source get this; 1 new source in 10 may exceed that" in lines[3]
    assert "real: at most" in lines[4]
    assert "uncertain: " in lines[5]
    assert RATIO[:40] in lines[6]
    assert "assuming that 90 % of the images are AI-generated" in lines[7]
    assert CONTRARY in lines[8]
    assert len(lines) == 9
    assert table(200, records * 20, run, **console).count("at most 5 % of the real images") == 1


def test_the_heading_names_the_folder_and_a_row_is_a_line(tmp_path):
    folder = tmp_path / "a folder with a long name" / "samples"
    folder.mkdir(parents=True)
    names = [str(folder / name) for name in ("a.jpg", "b.jpg")]
    assert shared_folder(names) == shared_folder([str(folder)]) == f"{folder}{os.sep}"
    for mixed in (["-"], ["@list.txt"], [*names, "relative.jpg"], [], [f"{folder}/*.jpg"], ["https://a.b/c.jpg"]):
        assert shared_folder(mixed) == ""
    records = [record(name, "uncertain", ("band",), probability=0.5) for name in names]
    lines = table(80, records, folder=f"{folder}{os.sep}").splitlines()
    assert lines[0] == f"inputs in {folder}{os.sep}"
    assert [line.split()[-2:] for line in lines[2:4]] == [["a.jpg", "[band]"], ["b.jpg", "[band]"]]


def test_messages_end_between_words_on_a_terminal(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    assert message(f"note: {ERROR}") == f"note: {ERROR}"
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    lines = message(f"note: {ERROR}\x1b").splitlines()
    assert max(map(len, lines)) <= 80
    assert " ".join(map(str.strip, lines)) == f"note: {ERROR}\\u001b"
