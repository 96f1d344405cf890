"""`cinemae report`, and a report of a resumed run: pages of records that were scored before."""

import base64
import codecs
import json
import re

import pytest
from cinemae.runtime.cli.main import app
from cinemae.runtime.scan.scan import scan
from commands import outcome
from pictures import encoded, folder_of, picture
from scans import scan_options


@pytest.fixture
def place(tmp_path, tiny_engine, monkeypatch):
    """A folder with images and their records, where a command runs."""
    monkeypatch.chdir(tmp_path)
    folder_of(tmp_path / "images", 6, bad=1)
    assert scan(scan_options("images", engine=tiny_engine, out=tmp_path / "s.jsonl", quiet=True)) == 1
    return tmp_path


def shown(page):
    """Path, P(AI), whether there is a picture, and whether there is a heatmap, of each record of a page."""
    text = page.read_text("utf-8")
    rows = [row for part in re.findall(r'class="rows">(.*?)</script', text, re.DOTALL) for row in json.loads(part)]
    media = re.findall(r'<script type="text/plain">(.*?)</script', text, re.DOTALL)
    pictures = [line for part in media for line in part.strip("\n").split("\n")]
    for line in pictures:
        assert base64.b64decode(line.partition("|")[0])[:2] in (b"", b"\xff\xd8")
    return {row["p"]: (row.get("q"), line[0] != "|", line[-1] != "|") for row, line in zip(rows, pictures, strict=True)}


def test_a_page_of_records_has_the_pictures_that_still_lie_there(place, tiny_engine, capsys):
    scan(scan_options("images", engine=tiny_engine, out=place / "t.jsonl", report=place / "whole.html", quiet=True))
    whole, paths = shown(place / "whole.html"), sorted(str(path) for path in (place / "images").rglob("img*"))
    (place / paths[2].removeprefix(f"{place}/")).unlink()
    (place / paths[3].removeprefix(f"{place}/")).write_bytes(encoded(picture(90, 90, seed=99)))
    assert outcome(capsys, app, "report", "s.jsonl", "--engine", tiny_engine) == (
        0, "s.html: 6 records; 2 without a picture: the image is gone or another one now\n", ""
    )
    pages = shown(place / "s.html")
    assert list(pages) == list(whole)
    for i, (path, (probability, pictured, _)) in enumerate(whole.items()):
        gone = path.endswith(tuple(paths[i][-10:] for i in (2, 3)))
        assert pages[path] == (probability, pictured and not gone, False), i


def test_records_become_the_same_table_that_a_run_writes(place, tiny_engine, capsys):
    scan(scan_options("images", engine=tiny_engine, out=place / "run.csv", quiet=True))
    assert outcome(capsys, app, "report", "s.jsonl", "--out", "t.csv") == (0, "t.csv: 6 records\n", "")
    assert (place / "t.csv").read_bytes() == (place / "run.csv").read_bytes()
    assert outcome(capsys, app, "report", "s.jsonl", "--out", "t.csv", "--csv-bom")[0] == 0
    assert (place / "t.csv").read_bytes() == codecs.BOM_UTF8 + (place / "run.csv").read_bytes()
    (place / "mine.csv").write_text("my,notes\n")
    assert outcome(capsys, app, "report", "s.jsonl", "--out", "mine.csv")[0] == 3
    assert (place / "mine.csv").read_text() == "my,notes\n"


@pytest.mark.parametrize(("arguments", "code", "message"), [
    (("none.jsonl",), 2, "none.jsonl: no such file"),
    (("images",), 2, "images: no such file"),
    (("other.txt",), 2, "other.txt: does not hold records of this schema"),
    (("s.jsonl",), 2, "s.jsonl: was made with tiny-test@"),
    (("s.jsonl", "--out", "s.jsonl"), 2, "s.jsonl: is an input"),
    (("s.jsonl", "--out", "p.pdf"), 2, "p.pdf: --out writes a page; give it a name that ends in .html"),
    (("s.jsonl", "--engine", "none.onnx"), 3, "none.onnx: no such engine file"),
])
def test_what_cannot_be_a_page_is_one_sentence(arguments, code, message, place, capsys):
    (place / "other.txt").write_text("no records\n")
    before = (place / "s.jsonl").read_bytes()
    found, out, err = outcome(capsys, app, "report", *arguments)
    assert (found, out) == (code, "")
    assert message in err
    assert err.count("\n") == 1
    assert (place / "s.jsonl").read_bytes() == before


def test_a_resumed_run_has_a_report_of_all_its_images(place, tiny_engine):
    data = (place / "s.jsonl").read_bytes().splitlines(keepends=True)
    (place / "s.jsonl").write_bytes(b"".join(data[:4]))
    options = {"engine": tiny_engine, "out": place / "s.jsonl", "report": place / "r.html", "quiet": True}
    assert scan(scan_options("images", resume=True, **options)) == 1
    assert (place / "s.jsonl").read_bytes().splitlines(keepends=True)[:4] == data[:4]
    found = [(pictured, heat) for _, pictured, heat in shown(place / "r.html").values()]
    failed = sum(b'"status": "error"' in line for line in data)
    assert failed == 1
    assert found.count((True, True)) == 2
    assert found.count((True, False)) == 3
