"""The HTML report: its content, the escaping of names, and its behaviour in a real browser."""

from __future__ import annotations

import base64
import json
import re
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from browser import chromium, requested_urls
from cinemae.runtime.calibration import Calibration
from cinemae.runtime.reading import CONTRARY, OWN_THRESHOLD
from cinemae.runtime.records import Record, Stats
from cinemae.runtime.report.html import (
    UNKNOWN_BYTE,
    ReportWriter,
    file_link,
    page_info,
    quantise,
    record_row,
    script_json,
)
from cinemae.runtime.verdict import Decision
from hypothesis import given
from hypothesis import strategies as st
from report_samples import manifest, picture, scored

NASTY = [
    "</script><script>document.title='hacked'</script>.jpg", "<img src=x onerror=document.title='hacked'>.jpg",
    "\"'&amp;`${1}.jpg", "<!--<script>.jpg", "line\nbreak\u2028\u2029.jpg", "bytes\\xff.jpg", "lone\udcff.jpg",
    "{{info}}{{script}}{{chunks}}{{style}}.jpg", "a|b|c.jpg", "\u202egpj.exe",
]  # fmt: skip
COUNTS = {"ai": 60, "uncertain": 40, "real": 90, "error": 10}


def rows_of(page: str) -> list[dict]:
    """The records in a page, read the way a browser delimits script elements."""
    return [row for text in re.findall(r'<script type="application/json" class="rows">(.*?)</script', page, re.S)
            for row in json.loads(text)]  # fmt: skip


@pytest.fixture(scope="module")
def sample():
    from cinemae.runtime.manifest import BackboneConfig

    return manifest(BackboneConfig(image_size=64, encoder_dim=8, encoder_depth=1, encoder_heads=1, decoder_dim=8,
                                   decoder_depth=1, decoder_heads=1))  # fmt: skip


@pytest.fixture(scope="module")
def page(sample, tmp_path_factory) -> Path:
    """200 records in a known order, 10 of them errors, one with never-masked patches."""
    path = tmp_path_factory.mktemp("report") / "report.html"
    with ReportWriter(path, sample, provider="CPUExecutionProvider", title="Week <47>") as report:
        for i in range(200):
            if i % 20 == 19:
                report.add(Record(f"in/bad {i}.jpg", "error", f"in/bad {i}.jpg: not an image"))
                continue
            logit = {0: -2.0, 1: 0.1, 2: 3.0}[0 if i % 20 < 9 else 1 if i % 20 < 13 else 2] + i / 1000
            record = scored(f"in/{i:03}.jpg", logit, sample, i, ("grayscale image",) if i == 7 else ())
            if i == 0:
                lcas = np.full(16, 10, np.float32)
                lcas[0], lcas[5] = 0, np.nan
                record = replace(record, lcas=lcas)
            report.add(record, picture(i))
    return path


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
        report.add(scored(name, 1.0, sample, reasons=(name,)), picture(0))
        report.add(Record(name, "error", name))
    text = path.read_text(encoding="utf-8")
    plain = tmp_path / "plain.html"
    with ReportWriter(plain, sample, title="t") as report:
        report.add(scored("n", 1.0, sample, reasons=("n",)), picture(0))
        report.add(Record("n", "error", "n"))
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
    found = quantise(lcas)
    assert found is not None
    codes, low, high = np.frombuffer(found[0], np.uint8), found[1], found[2]
    assert set(np.flatnonzero(codes == UNKNOWN_BYTE)) == {3, 77}
    known = codes != UNKNOWN_BYTE
    back = low + codes[known] / 254 * (high - low)
    assert np.abs(back - lcas[known]).max() <= (high - low) / 254 / 2 * 1.001
    assert quantise(np.full(4, np.nan)) is None
    constant = quantise(np.full(4, 2.5, np.float32))
    assert constant == (b"\0\0\0\0", 2.5, 2.5)


def test_links_are_relative_and_harmless(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("javascript:alert(1)", "a b#c?.jpg"):
        Path(name).write_bytes(b"")
    assert file_link("javascript:alert(1)", tmp_path) == "./javascript%3Aalert%281%29"
    assert file_link("a b#c?.jpg", tmp_path / "out") == "./../a%20b%23c%3F.jpg"
    assert file_link("gone.jpg", tmp_path) is None
    assert file_link("nul\0.jpg", tmp_path) is None


def test_script_json_is_inert():
    text = script_json({"a": "</script>&<!--\u2028é"})
    assert not set(text) & set("<>&\u2028é")
    assert json.loads(text) == {"a": "</script>&<!--\u2028é"}


@given(st.text(), st.text(), st.floats(allow_nan=False, allow_infinity=False, width=32))
def test_any_record_becomes_one_inert_row(name, reason, logit):
    record = Record(name, "ok", None, "ai", 0.5, logit, Stats(logit, 0.0, 1e-30), (reason,), 1, 1)
    row, lcas = record_row(record, Path("."))
    assert not set(row) & set("<>&\n")
    assert row.isascii()
    assert lcas == ""
    assert json.loads(row)["p"] == name
    assert json.loads(row)["r"] == [reason]


def test_decision_of_the_run_is_the_one_shown(sample, tmp_path):
    with ReportWriter(tmp_path / "r.html", sample, Decision.of(sample.calibration, 0.9)):
        pass
    (info,) = re.findall(r'id="info">(.*?)</script', (tmp_path / "r.html").read_text())
    assert json.loads(info)["aiFrom"][0] == json.loads(info)["realBelow"][0] == pytest.approx(0.9)
    assert json.loads(info)["words"]["real"] == OWN_THRESHOLD


def test_a_verdict_that_is_never_given_has_no_threshold(sample, tmp_path):
    silent = sample.model_copy(update={"calibration": Calibration(ai_from=None, real_below=-1.0, miss=0.05)})
    info = page_info(silent, Decision.of(silent.calibration), "t", 0.5)
    assert (info["aiFrom"], info["realBelow"][1]) == (None, -1.0)
    assert script_json(info)


# ---- in a browser --------------------------------------------------------------------------------------------------


def shown(driver) -> list[str]:
    """Names on the cards, in reading order."""
    return driver.execute_script("return [...document.querySelectorAll('.card .file')].map(e => e.textContent)")


def wait_for(condition, seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def set_value(driver, name: str, value: str, event: str = "input") -> None:
    driver.execute_script(
        "const [name, value, event] = arguments, e = document.getElementById(name);"
        "e.value = value; e.dispatchEvent(new Event(event))",
        name, value, event,
    )  # fmt: skip


def test_report_in_chromium(page, sample, tmp_path):
    with chromium() as driver:
        driver.get(page.as_uri())
        assert driver.title == "Week <47>"
        find = driver.find_element
        assert find("id", "title").text == "Week <47>"
        assert "sample@" in find("id", "byline").text
        assert find("id", "demonstration").is_displayed()
        numbers = {
            kind: int(find("css selector", f".verdict.{kind} b").text) for kind in ("ai", "uncertain", "real", "error")
        }
        assert numbers == COUNTS
        assert shown(driver)[:3] == ["000.jpg", "001.jpg", "002.jpg"]
        assert len(driver.find_elements("css selector", ".card")) < 100  # not all 200 exist at once

        # both thresholds, and what each verdict promises
        assert len(driver.find_elements("css selector", "#histogram .mark")) == 2
        assert len(driver.find_elements("css selector", ".card:first-child .meter u")) == 2
        assert "at most 5 % of real images get this" in find("css selector", ".verdict.ai").text
        assert "at most 10 % of AI images get this" in find("css selector", ".verdict.real").text
        assert "a new kind can exceed" in find("id", "caveat").text
        assert find("id", "decision").text == "AI from 62\u2009%, real below 38\u2009%"

        # sort
        set_value(driver, "sort", "high", "change")
        assert shown(driver)[0] == "198.jpg"
        set_value(driver, "sort", "low", "change")
        assert shown(driver)[0] == "000.jpg"
        set_value(driver, "sort", "close", "change")
        assert shown(driver)[0] == "192.jpg"  # the highest of those just below `ai`
        driver.execute_script("scrollTo(0, document.body.scrollHeight)")
        wait_for(lambda: shown(driver)[-1] == "bad 199.jpg")  # files that could not be read come last

        # filter
        set_value(driver, "text", "GRAY")
        assert shown(driver) == ["007.jpg"]
        find("id", "reset").click()
        find("css selector", ".verdict.uncertain").click()
        assert find("id", "count").text == "40 of 200 images"
        find("id", "reset").click()
        set_value(driver, "from", "90")
        assert find("id", "count").text == "60 of 200 images"
        find("id", "reset").click()
        set_value(driver, "text", "no such image")
        assert find("id", "nothing").is_displayed()
        find("id", "reset").click()
        assert find("id", "count").text == "200 of 200 images"

        # heatmap on focus, colours from the bytes
        set_value(driver, "sort", "order", "change")
        driver.execute_script("scrollTo(0, 0); document.querySelector('.card').focus()")
        assert find("css selector", ".card .picture.hot canvas").is_displayed()
        context = "document.querySelector('.card canvas').getContext('2d')"
        pixel = f"return [...{context}.getImageData(arguments[0], arguments[1], 1, 1).data]"
        assert driver.execute_script(pixel, 2, 2) == [0, 0, 4, 255]  # LCAS 0: the low end
        assert driver.execute_script(pixel, 14, 2) == [252, 255, 164, 255]  # LCAS 10: the high end
        hatch = {tuple(driver.execute_script(pixel, 12 + x, 13)) for x in range(12)}
        assert hatch == {(0xD6, 0xD8, 0xDC, 255), (0x78, 0x7C, 0x84, 255)}
        active = "return document.activeElement.getAttribute('aria-posinset')"
        driver.switch_to.active_element.send_keys("\ue014")  # right arrow
        assert driver.execute_script(active) == "2"
        find("id", "heat").click()
        assert len(driver.find_elements("css selector", ".picture.hot")) > 5

        # one image in full, by keyboard
        driver.execute_script("document.querySelector('.card').focus()")
        driver.switch_to.active_element.send_keys("\ue007")  # enter
        assert find("id", "detail").is_displayed()
        assert find("id", "detail-name").text == "000.jpg"
        find("id", "next").click()
        assert find("id", "detail-name").text == "001.jpg"
        assert "640" in find("css selector", "#detail dl").text
        assert "at most 10 % of AI images get this" in find("css selector", "#detail dl").text
        assert "(AI from 0.5000, real below -0.5000)" in find("css selector", "#detail dl").text
        find("css selector", ".close").click()
        wait_for(lambda: driver.execute_script(active) == "2")

        assert [entry for entry in driver.get_log("browser") if entry["level"] == "SEVERE"] == []
        schemes = {url.split(":")[0] for url in requested_urls(driver)}
        assert schemes <= {"file", "data", "chrome"}  # the browser's own first page is chrome:


def test_no_green_real_beside_a_probability_above_one_half(sample, tmp_path):
    path = tmp_path / "r.html"
    with ReportWriter(path, sample, prior=0.9) as report:
        for i, logit in enumerate((-4.0, -0.6)):
            probability = sample.calibration.probability(logit, 0.9)
            report.add(replace(scored(f"{i}.jpg", logit, sample), probability=probability))
    with chromium() as driver:
        driver.get(path.as_uri())
        colours = driver.execute_script(
            "return [...document.querySelectorAll('.card .tag')].map(e => [e.textContent, getComputedStyle(e).color])"
        )
        green, other = "rgb(23, 112, 95)", "rgb(125, 95, 0)"
        assert colours == [["Real", green], ["Real", other]]
        assert CONTRARY in driver.find_element("css selector", ".card:nth-child(2) .why").text
        assert driver.find_element("id", "prior").text == "assuming that 90 % of the images are AI-generated"
        bars = [e.get_attribute("class") for e in driver.find_elements("css selector", "#histogram rect:not(.band)")]
        assert bars == ["real", "uncertain"]


def test_hostile_names_and_dark_print_in_chromium(sample, tmp_path):
    path = tmp_path / "r.html"
    with ReportWriter(path, sample) as report:
        for i, name in enumerate(NASTY):
            report.add(scored(name, 1.0, sample, i, (name,)), picture(i))
            report.add(Record(name, "error", name))
    with chromium(dark=True) as driver:
        driver.get(path.as_uri())
        assert driver.title == "Image report"
        assert driver.find_element("id", "count").text == f"{2 * len(NASTY)} of {2 * len(NASTY)} images"
        assert driver.execute_script("return document.querySelectorAll('main img[onerror], main script').length") == 0
        assert driver.execute_script("return rows[0].p") == NASTY[0]
        background = "return getComputedStyle(document.body).backgroundColor"
        assert driver.execute_script(background) == "rgb(19, 21, 25)"
        pdf = base64.b64decode(driver.execute_cdp_cmd("Page.printToPDF", {"printBackground": True})["data"])
        assert pdf.startswith(b"%PDF")
        on_paper = "dispatchEvent(new Event('beforeprint')); return document.querySelectorAll('.card').length"
        assert driver.execute_script(on_paper) == 2 * len(NASTY)
        driver.execute_script("dispatchEvent(new Event('afterprint'))")
        assert len(driver.find_elements("css selector", ".card")) < 2 * len(NASTY)
        assert [entry for entry in driver.get_log("browser") if entry["level"] == "SEVERE"] == []
