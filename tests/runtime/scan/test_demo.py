"""`cinemae run --demo`: the first command that anybody types needs no image and no option."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from urllib.parse import unquote, urlparse

from cinemae.runtime.scan.samples import REPORT, demo_inputs, sample_paths
from pictures import cinemae_run, json_lines


def test_the_demo_writes_its_report_and_names_it(tmp_path):
    found = cinemae_run("--demo", cwd=tmp_path)
    assert found.returncode == 0, found.stderr
    records = json_lines(found.stdout)
    assert [Path(record["path"]) for record in records] == sample_paths()
    assert {record["status"] for record in records} == {"ok"}
    assert "(demonstration)" in records[0]["run"]["engine"]
    assert found.stderr.count(b"demonstration") == 1
    (address,) = re.findall(r"report: cinemae-demo\.html \(open (file://\S+)\)", found.stderr.decode())
    page = Path(unquote(urlparse(address).path))
    assert page == tmp_path / "cinemae-demo.html"
    rows = re.search(r'class="rows">(.*?)</script>', page.read_text("utf-8"), re.DOTALL)
    assert len(json.loads(rows[1])) == len(records)
    assert cinemae_run("--demo", "-q", cwd=tmp_path).returncode == 0  # its own report is replaced


def test_a_folder_that_cannot_be_written(monkeypatch):
    monkeypatch.setattr(os, "access", lambda *_: False)
    _, report = demo_inputs([], None)
    assert report.name == REPORT
    assert list(report.parent.iterdir()) == []
    report.parent.rmdir()


def test_outputs_are_named_at_the_end(tmp_path, tiny_engine):
    outputs = ("--out", "s.csv", "--heatmaps", "heat")
    found = cinemae_run(*sample_paths()[:1], "--engine", tiny_engine, *outputs, cwd=tmp_path)
    assert found.stderr.decode().splitlines()[-2:] == ["records: s.csv", "heatmaps: heat"]
    assert cinemae_run(*sample_paths()[:1], "--engine", tiny_engine, "-q", cwd=tmp_path).stderr == b""
