"""The HTML report in headless Chromium: sorting, filters, heatmaps, one image in full, review, hostile names, axe."""

from __future__ import annotations

import base64
import csv
import io
import re
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from browser import chromium, requested_urls
from cinemae.runtime.evidence.fact import Evidence
from cinemae.runtime.report.html import ReportWriter
from cinemae.runtime.scoring.options import ScoringOptions
from cinemae.runtime.scoring.reading import CONTRARY
from cinemae.runtime.scoring.record import Frames, Reason, ScoredFrame, Tile
from cinemae.runtime.scoring.verdict import run_of
from PIL import Image
from report_samples import COUNTS, NASTY, failed, picture, scored
from web_site import axe_findings, npm_modules, saved, wait

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def browser():
    with chromium() as driver:
        yield driver


@pytest.fixture
def show(browser):
    """Opens a page; nothing may have gone wrong in its console when the test ends."""

    def opened(path, dark=False):
        preference = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [preference]})
        browser.get(path.as_uri())
        return browser

    browser.get("about:blank")
    browser.get_log("browser")
    yield opened
    assert [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"] == []


def shown(driver) -> list[str]:
    """Names on the cards, in reading order."""
    return driver.execute_script("return [...document.querySelectorAll('.card .file')].map(e => e.textContent)")


def text_of(driver, selector: str) -> str:
    return driver.find_element("css selector", selector).text


def set_value(driver, name: str, value: str, event: str = "input") -> None:
    driver.execute_script(
        "const [name, value, event] = arguments, e = document.getElementById(name);"
        "e.value = value; e.dispatchEvent(new Event(event))",
        name, value, event,
    )


def test_the_head_counts_and_promises(page, show, browser):
    requested_urls(browser)
    driver = show(page)
    assert driver.title == text_of(driver, "#title") == "Week <47>"
    assert "sample@" in text_of(driver, "#byline")
    assert driver.find_element("id", "demonstration").is_displayed()
    assert {kind: int(text_of(driver, f".verdict.{kind} b")) for kind in COUNTS} == COUNTS
    assert shown(driver)[:3] == ["198.jpg", "197.jpg", "196.jpg"]
    assert len(driver.find_elements("css selector", ".card")) < 100  # not all 200 exist at once
    assert len(driver.find_elements("css selector", "#histogram .mark")) == 2
    assert len(driver.find_elements("css selector", "#histogram .measured")) == 2
    assert len(driver.find_elements("css selector", ".card:first-child .place .mark")) == 2
    assert len(driver.find_elements("css selector", ".card:first-child .place .here")) == 1
    assert "at most 5 % of the real images of a source get this; any new" in text_of(driver, ".verdict.ai")
    assert "at most 10 % of the AI images of a source get this; any new" in text_of(driver, ".verdict.real")
    assert "a new kind can exceed" in text_of(driver, "#caveat")
    assert text_of(driver, "#decision") == "AI from 0.50, real below -0.50"
    assert text_of(driver, "#errors summary") == "10 files could not be scored: 10 unsupported"
    assert {url.split(":")[0] for url in requested_urls(driver)} <= {"file", "data"}


def test_sorting_and_filters(page, show):
    driver = show(page)
    for order, first in (("order", "000.jpg"), ("high", "198.jpg"), ("low", "000.jpg"), ("close", "192.jpg")):
        set_value(driver, "sort", order, "change")
        assert shown(driver)[0] == first  # of "close" the highest of those just below `ai`
    driver.execute_script("scrollTo(0, document.body.scrollHeight)")
    last = "[...document.querySelectorAll('.card .file')].at(-1).textContent"
    wait(driver, f"{last} === 'bad 199.jpg'", 10)  # files that could not be read come last
    set_value(driver, "text", "GRAY")
    assert shown(driver) == ["007.jpg"]
    driver.find_element("id", "reset").click()
    driver.find_element("css selector", ".verdict.uncertain").click()
    assert text_of(driver, "#count") == "40 of 200 images"
    driver.find_element("id", "reset").click()
    set_value(driver, "from", "80")
    assert text_of(driver, "#count") == "60 of 200 images"
    set_value(driver, "text", "no such image")
    assert driver.find_element("id", "nothing").is_displayed()
    driver.find_element("id", "reset").click()
    assert text_of(driver, "#count") == "200 of 200 images"


def test_what_files_declare_is_counted_shown_and_searched(sample, tmp_path, show):
    declared = Evidence("source_type", "XMP", "The file declares itself made", "trained", "http://x/trained", "ai")
    camera = Evidence("camera", "EXIF", "The file names the camera A, taken 2024-05-01", "A")
    with ReportWriter(tmp_path / "r.html", sample, csv_bom=True) as report:
        report.add(scored("high.jpg", 3.0, sample))
        report.add(replace(scored("camera.jpg", 0.0, sample), evidence=(camera,)))
        report.add(replace(scored("against.jpg", -3.0, sample), evidence=(declared,)))
    driver = show(tmp_path / "r.html")
    assert shown(driver) == ["against.jpg", "high.jpg", "camera.jpg"]
    counts = [button.text for button in driver.find_elements("css selector", "#marks button")]
    assert counts == ["1 file declares AI", "1 contradicts its score", "1 has camera data",
                      "1 says nothing of its origin"]
    badges = [card.text for card in driver.find_elements("css selector", ".card .badges")]
    assert badges == ["declares AI", "", "camera data"]
    driver.find_element("css selector", "#marks button").click()
    assert shown(driver) == ["against.jpg"]
    driver.find_element("css selector", ".card").click()
    assert not driver.find_element("css selector", ".raw pre").is_displayed()
    driver.find_element("css selector", ".raw summary").click()
    assert text_of(driver, ".raw pre") == "http://x/trained"
    assert "Ask what made it" in text_of(driver, "#detail dl")
    driver.find_element("css selector", ".close").click()
    driver.find_element("id", "reset").click()
    for words, names in (("http://x", ["against.jpg"]), ("taken 2024", ["camera.jpg"])):
        set_value(driver, "text", words)
        assert shown(driver) == names
    set_value(driver, "text", "")
    assert "Next: find the original, ask for the camera file" in text_of(driver, ".card:nth-child(3) .next")
    start = driver.execute_async_script(
        "const [done] = arguments, made = URL.createObjectURL;"
        "URL.createObjectURL = (blob) => { URL.createObjectURL = made;"
        "blob.arrayBuffer().then((all) => done([...new Uint8Array(all, 0, 8)])); return '#'; };"
        "document.getElementById('save-review').click()"
    )
    assert bytes(start) == b"\xef\xbb\xbfpath,"


def test_heatmaps_and_one_image_in_full_by_keyboard(page, show):
    driver = show(page)
    set_value(driver, "sort", "order", "change")
    driver.execute_script("document.querySelector('.card').focus()")
    assert driver.find_element("css selector", ".card .picture.hot canvas").is_displayed()
    context = "document.querySelector('.card canvas').getContext('2d')"
    pixel = f"return [...{context}.getImageData(arguments[0], arguments[1], 1, 1).data]"
    assert driver.execute_script(pixel, 2, 2) == [0, 0, 4, 255]  # LCAS 0: the low end
    assert driver.execute_script(pixel, 14, 2) == [252, 255, 164, 255]  # LCAS 10: the high end
    hatch = {tuple(driver.execute_script(pixel, 12 + x, 13)) for x in range(12)}
    assert hatch == {(0xD6, 0xD8, 0xDC, 255), (0x78, 0x7C, 0x84, 255)}
    active = "document.activeElement.getAttribute('aria-posinset')"
    driver.switch_to.active_element.send_keys("\ue014")  # right arrow
    assert driver.execute_script(f"return {active}") == "2"
    driver.find_element("id", "heat").click()
    assert len(driver.find_elements("css selector", ".picture.hot")) > 5
    driver.execute_script("document.querySelector('.card').focus()")
    driver.switch_to.active_element.send_keys("\ue007")  # enter
    assert text_of(driver, "#detail-name") == "000.jpg"
    driver.find_element("id", "next").click()
    assert text_of(driver, "#detail-name") == "001.jpg"
    facts = text_of(driver, "#detail dl")
    for part in ("640", "at most 10 % of the AI images of a source get this", "(AI from 0.50, real below -0.50)"):
        assert part in facts
    driver.find_element("css selector", ".close").click()
    wait(driver, f"{active} === '2'", 10)


def test_tiles_and_frames_in_full(sample, tmp_path, show):
    path, grid = tmp_path / "r.html", np.zeros((4, 8), np.float32)
    grid[1, 6] = 10
    tiles = (Tile(0, 0, 320, -1.0), Tile(320, 0, 320, 2.0))
    frames = Frames(120, 5, (ScoredFrame(0, 0.0, -1.0, 0.25), ScoredFrame(5, 0.2, 1.0, 0.75)))
    with ReportWriter(path, sample) as report:
        report.add(replace(scored("wide.jpg", 1.0, sample), lcas=grid, tiles=tiles), picture(0)[:32].repeat(2, 1))
        report.add(replace(scored("film.mp4", 1.0, sample), frames=frames), picture(0))
    driver = show(path)
    driver.find_element("css selector", ".card").click()
    canvas = driver.find_element("css selector", "#detail .hot canvas")
    assert (canvas.get_property("width"), canvas.get_property("height")) == (96, 48)
    assert canvas.size["width"] == pytest.approx(2 * canvas.size["height"], abs=1)
    pixel = "return [...arguments[0].getContext('2d').getImageData(6 * 12 + 6, 18, 1, 1).data]"
    assert driver.execute_script(pixel, canvas) == [252, 255, 164, 255]
    text = text_of(driver, "#detail dl")
    assert "2 overlapping squares of 320 × 320 pixels, logits -1.0000 to 2.0000" in text
    driver.find_element("id", "next").click()
    text = text_of(driver, "#detail dl")
    assert "0: 25\u202f%, 5: 75\u202f% (gives the verdict), of 120 in the file, counted from 0" in text


def test_no_green_real_beside_a_probability_above_one_half(sample, tmp_path, show):
    path = tmp_path / "r.html"
    run = run_of(sample, ScoringOptions(prior=0.9))
    with ReportWriter(path, sample, run) as report:
        for i, logit in enumerate((-0.6, -4.0)):
            probability = sample.calibration.probability(logit, 0.9)
            report.add(replace(scored(f"{i}.jpg", logit, sample), probability=probability))
    driver = show(path)
    colours = driver.execute_script(
        "return [...document.querySelectorAll('.card .tag')].map(e => [e.textContent, getComputedStyle(e).color])"
    )
    green, other = "rgb(23, 112, 95)", "rgb(125, 95, 0)"
    assert colours == [["Real", other], ["Real", green]]
    assert CONTRARY in text_of(driver, ".card:nth-child(1) .why")
    bars = [e.get_attribute("class") for e in driver.find_elements("css selector", "#histogram rect")]
    assert bars == ["real", "uncertain"]


def test_hostile_names_and_dark_print(sample, tmp_path, show):
    path = tmp_path / "r.html"
    with ReportWriter(path, sample) as report:
        for i, name in enumerate(NASTY):
            report.add(scored(name, 1.0, sample, i, (Reason("grey", name),)), picture(i))
            report.add(failed(name, name, sample))
    driver = show(path, dark=True)
    assert driver.title == "Image report"
    assert text_of(driver, "#count") == f"{2 * len(NASTY)} of {2 * len(NASTY)} images"
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


def test_each_bar_tells_its_counts(page, show):
    driver = show(page)
    titles = driver.execute_script("return [...document.querySelectorAll('.column title')].map(e => e.innerHTML)")
    parts = [re.findall(r"(\d+) (\w+)", title.partition(": ")[2]) for title in titles]
    bars = [Counter({word: int(number) for number, word in part}) for part in parts]
    assert sum(bars, Counter()) == {"AI": COUNTS["ai"], "Uncertain": COUNTS["uncertain"], "Real": COUNTS["real"]}
    assert text_of(driver, "#peak") == f"highest bar: {max(bar.total() for bar in bars)} images"


def test_labels_of_images_are_counted_and_wrong_verdicts_shown_alone(sample, tmp_path, show):
    with ReportWriter(tmp_path / "r.html", sample) as report:
        for i, (logit, label) in enumerate([(9.0, "ai"), (9.0, "real"), (-9.0, "real"), (0.0, "ai"), (9.0, None)]):
            report.add(scored(f"{i}.jpg", logit, sample), picture(i), label)
    driver = show(tmp_path / "r.html")
    buttons = driver.find_elements("css selector", "#marks button")
    assert [button.text for button in buttons][:3] == ["1 verdict is wrong", "2 are labelled AI", "2 are labelled real"]
    buttons[0].click()
    (card,) = driver.find_elements("css selector", ".card")
    assert "1.jpg" in card.get_attribute("aria-label")
    assert card.find_element("css selector", ".badges").text == "labelled real"


def test_review_marks_and_notes_are_kept_and_saved(sample, tmp_path, show):
    note = '=SUM(A1), "quoted"'
    with ReportWriter(tmp_path / "r.html", sample) as report:
        for i in range(2):
            report.add(replace(scored(f"-{i}, a.jpg", 3.0, sample, i), sha256=str(i) * 64), picture(i))
    driver = show(tmp_path / "r.html")
    driver.find_element("css selector", ".card").click()
    driver.find_element("css selector", ".review input").click()
    driver.find_element("css selector", ".review select").send_keys("unclear")
    driver.find_element("css selector", ".review textarea").send_keys(note)
    driver.refresh()
    (card,) = driver.find_elements("css selector", ".card.reviewed")
    assert card.get_attribute("data-index") == "0"
    badge = "return getComputedStyle(arguments[0], '::after').content"
    assert driver.execute_script(badge, card) == '"\u2713\u00a0unclear"'
    first, *rows = csv.reader(io.StringIO(saved(driver, "save-review")))
    assert first == ["path", "sha256", "verdict", "likelihood_ratio", "probability", "reviewed", "label", "note"]
    assert [row[:3] + row[5:] for row in rows] == [
        ["'-0, a.jpg", "0" * 64, "ai", "yes", "unclear", "'" + note], ["'-1, a.jpg", "1" * 64, "ai", "no", "", ""],
    ]


def test_the_original_is_shown_with_the_scored_part_outlined(sample, tmp_path, show):
    Image.fromarray(picture(0, 480)).resize((640, 480)).save(tmp_path / "wide #1.png")
    with ReportWriter(tmp_path / "r.html", sample) as report:
        report.add(scored(str(tmp_path / "wide #1.png"), 3.0, sample), picture(0))
    side = round(480 * sample.preprocess.crop / sample.preprocess.resize_short)
    driver = show(tmp_path / "r.html")
    driver.find_element("css selector", ".card").click()
    facts = text_of(driver, "#detail dl")
    assert f"the centre {side} × {side} of 640 × 480 pixels" in facts
    driver.find_element("css selector", "button.wide").click()
    driver.find_element("css selector", ".original button").click()  # full size: a pixel of the image is one here
    wait(driver, "document.querySelector('.original img').naturalWidth", 10)
    image, outline = driver.execute_script(
        "return ['img', '.outline'].map(e => document.querySelector('.original ' + e).getBoundingClientRect())"
    )
    assert (image["width"], image["height"]) == (640, 480)
    assert outline["width"] == pytest.approx(side, abs=1) == outline["height"]
    assert outline["x"] - image["x"] == pytest.approx((640 - side) / 2, abs=1)
    assert outline["y"] - image["y"] == pytest.approx((480 - side) / 2, abs=1)
    (tmp_path / "wide #1.png").unlink()
    driver.find_element("css selector", ".close").click()
    driver.find_element("css selector", ".card").click()
    driver.execute_script("rows[0].f += '?gone'")
    driver.find_element("css selector", "button.wide").click()
    wait(driver, "document.querySelector('.original p')?.textContent.startsWith('The original is no longer')", 10)
    driver.get_log("browser")


@pytest.mark.slow
@pytest.mark.parametrize("dark", [False, True])
def test_axe_finds_nothing(page, request, show, dark):
    modules = npm_modules(request.config.cache.mkdir("cinemae-npm"))
    driver = show(page, dark=dark)
    assert axe_findings(driver, modules) == []
    driver.find_element("css selector", ".card").click()
    assert axe_findings(driver, modules) == []
