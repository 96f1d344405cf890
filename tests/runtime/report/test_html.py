"""The HTML report: its content and the escaping of names."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from cinemae.runtime.core.calibration import Calibration
from cinemae.runtime.evidence.fact import Evidence
from cinemae.runtime.report.html import (
    UNKNOWN_BYTE,
    ReportWriter,
    file_link,
    page_info,
    quantise,
    record_row,
    script_json,
)
from cinemae.runtime.report.spread import BINS, Spread
from cinemae.runtime.scoring.likelihood_ratio import LikelihoodRatio
from cinemae.runtime.scoring.options import ScoringOptions
from cinemae.runtime.scoring.reading import CONTRADICTION, OWN_THRESHOLD
from cinemae.runtime.scoring.record import Reason, Stats
from cinemae.runtime.scoring.verdict import run_of
from hypothesis import given
from hypothesis import strategies as st
from records import LIKELIHOOD
from report_samples import COUNTS, NASTY, failed, picture, scored


def rows_of(page: str) -> list[dict]:
    """The records in a page, read the way a browser delimits script elements."""
    return [row for text in re.findall(r'<script type="application/json" class="rows">(.*?)</script', page, re.S)
            for row in json.loads(text)]


def test_page_holds_every_record_in_order_and_no_address(page):
    text = page.read_text(encoding="ascii")
    rows = rows_of(text)
    assert [row["p"] for row in rows][:3] == ["in/000.jpg", "in/001.jpg", "in/002.jpg"]
    assert len(rows) == 200
    assert sum("e" in row for row in rows) == COUNTS["error"]
    assert "default-src 'none'" in text
    outside = set(re.findall(r"https?://[^\s\"'<>]+", text))
    assert outside <= {"http://www.w3.org/2000/svg"}  # a namespace, not an address that is fetched


@pytest.mark.parametrize("name", NASTY)
def test_names_cannot_leave_their_place(sample, tmp_path, name):
    path = tmp_path / "r.html"
    with ReportWriter(path, sample, title=name) as report:
        report.add(scored(name, 1.0, sample, reasons=(Reason("grey", name),)), picture(0))
        report.add(failed(name, name, sample))
    text = path.read_text(encoding="utf-8")
    plain = tmp_path / "plain.html"
    with ReportWriter(plain, sample, title="t") as report:
        report.add(scored("n", 1.0, sample, reasons=(Reason("grey", "n"),)), picture(0))
        report.add(failed("n", "n", sample))
    assert text.count("<") == plain.read_text().count("<")
    first, second = rows_of(text)
    assert first["p"] == second["p"] == name
    assert first["r"] == [name]


def test_a_failed_run_leaves_the_old_report(sample, tmp_path):
    path = tmp_path / "r.html"
    path.write_text("old")
    with pytest.raises(AttributeError), ReportWriter(path, sample) as report:
        report.add(None)
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["r.html"]


def test_same_records_same_bytes(sample, tmp_path, monkeypatch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    for name in ("a.html", "b.html"):
        with ReportWriter(tmp_path / name, sample) as report:
            report.add(scored("x.jpg", 1.0, sample), picture(0))
    assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()
    assert "2023-11-14 22:13 UTC" in (tmp_path / "a.html").read_text()


def test_records_are_written_as_they_come(sample, tmp_path):
    """Only one chunk waits in memory."""
    with ReportWriter(tmp_path / "r.html", sample) as report:
        for i in range(1000):
            report.add(scored(f"{i}.jpg", 1.0, sample))
            assert len(report._rows) < 100
        (temporary,) = tmp_path.iterdir()
        assert temporary.stat().st_size > 100_000


def test_pictures_of_a_very_large_run_are_limited(sample, tmp_path, monkeypatch):
    monkeypatch.setattr("cinemae.runtime.report.html.MAX_PICTURES", 2)
    path = tmp_path / "r.html"
    with ReportWriter(path, sample) as report:
        for i in range(4):
            report.add(scored(f"{i}.jpg", 1.0, sample), picture(i))
    assert ["m" in row for row in rows_of(path.read_text())] == [True, True, False, False]
    (media,) = re.findall(r'<script type="text/plain">(.*?)</script', path.read_text(), re.S)
    assert [line == "|" for line in media.split("\n")] == [False, False, True, True]
    assert '"pictures":2' in path.read_text()


def test_quantised_lcas_comes_back_within_half_a_step():
    lcas = np.random.default_rng(0).normal(5, 3, 196).astype(np.float32)
    lcas[[3, 77]] = np.nan
    found, low, high = quantise(lcas)
    codes = np.frombuffer(found, np.uint8)
    assert set(np.flatnonzero(codes == UNKNOWN_BYTE)) == {3, 77}
    known = codes != UNKNOWN_BYTE
    back = low + codes[known] / 254 * (high - low)
    assert np.abs(back - lcas[known]).max() <= (high - low) / 254 / 2 * 1.001
    assert quantise(np.full(4, np.nan)) is None
    assert quantise(np.full(4, 2.5, np.float32)) == (b"\0\0\0\0", 2.5, 2.5)


def test_links_are_relative_and_harmless(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("javascript:alert(1)", "a b#c?.jpg"):
        Path(name).write_bytes(b"")
    assert file_link("javascript:alert(1)", tmp_path) == "./javascript%3Aalert%281%29"
    assert file_link("a b#c?.jpg", tmp_path / "out") == "./../a%20b%23c%3F.jpg"
    assert file_link("gone.jpg", tmp_path) is file_link("nul\0.jpg", tmp_path) is None


@given(st.text(), st.text(), st.floats(allow_nan=False, allow_infinity=False, width=32))
def test_any_record_becomes_one_inert_row(sample, name, reason, logit):
    made = scored(name, logit, sample, reasons=(Reason("grey", reason),))
    record = replace(made, stats=Stats(logit, 0.0, 1e-30), lcas=None)
    row, lcas = record_row(record, Path("."))
    assert not set(row) & set("<>&\n")
    assert row.isascii()
    assert lcas == ""
    assert json.loads(row)["p"] == name
    assert json.loads(row)["r"] == [reason]


def test_decision_of_the_run_is_the_one_shown(sample, tmp_path):
    with ReportWriter(tmp_path / "r.html", sample, run_of(sample, ScoringOptions(threshold=0.9))):
        pass
    (info,) = re.findall(r'id="info">(.*?)</script', (tmp_path / "r.html").read_text())
    run = json.loads(info)["run"]
    assert run["ai_from"] == run["real_below"] == pytest.approx(sample.calibration.logit_of(0.9))
    assert json.loads(info)["words"]["real"] == OWN_THRESHOLD


def test_a_verdict_that_is_never_given_has_no_threshold(sample, tmp_path):
    silent = sample.model_copy(update={"calibration": Calibration(ai_from=None, real_below=-1.0, miss=0.05)})
    info = page_info(silent, run_of(silent), "t")
    assert (info["run"]["ai_from"], info["run"]["real_below"]) == (None, -1.0)
    assert script_json(info)


def test_the_axis_holds_thresholds_and_both_distributions(sample):
    spread = Spread.of(sample.calibration)
    assert spread.low < sample.calibration.real_below < sample.calibration.ai_from < spread.high
    assert len(spread.real) == len(spread.ai) == BINS
    assert max(spread.real + spread.ai) == 1
    real, ai = (np.average(np.arange(BINS), weights=one) for one in (spread.real, spread.ai))
    assert real < ai
    marks = dict(spread.ratios)
    assert (marks["1"], marks["10"]) == (pytest.approx(0), pytest.approx(2))
    measured = sample.calibration.likelihood.real_share
    share = sum(spread.real[: BINS // 2]) / sum(spread.real)
    assert share == pytest.approx(1 - np.interp((spread.low + spread.high) / 2, LIKELIHOOD.logits, measured), abs=0.02)
    unmeasured = Spread.of(Calibration(ai_from=9.0, real_below=None))
    assert (unmeasured.low, unmeasured.high, unmeasured.real, unmeasured.ratios) == (-4, 9, (), ())


def test_a_row_states_its_ratio_and_what_contradicts_it(sample):
    declared = Evidence("source_type", "XMP", "declares itself generated", "A", "raw", declares="ai")
    row = json.loads(record_row(replace(scored("a", -3.0, sample), evidence=(declared,)), Path("."))[0])
    ratio = LikelihoodRatio.of(sample.calibration, -3.0)
    assert row["x"] == [ratio.interval, ratio.text, ratio.support]
    assert row["c"] == [CONTRADICTION]
    assert row["o"] == [["declares itself generated", "XMP", "source_type", "ai", "A", "raw"]]
    assert "c" not in json.loads(record_row(scored("a", -3.0, sample), Path("."))[0])
