"""The page and /docs in headless Chromium: choose, drop, paste, retry, keyboard, heatmap, dark, token, axe."""

from __future__ import annotations

import base64
import urllib.request

import pytest

pytest.importorskip("fastapi", reason="needs the serve extra")
pytest.importorskip("selenium.webdriver", reason="needs selenium")

import numpy as np
from browser import chromium
from cinemae.runtime.core.colour_map import colour_table
from cinemae.runtime.scoring.detector import Detector
from cinemae.runtime.scoring.reading import CONTRARY
from cinemae.runtime.serve.options import ServedScoring, ServeOptions
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait
from serve_tools import ArithmeticEngine, encode, picture, serving
from web_site import axe_findings, npm_modules, wait

pytestmark = pytest.mark.browser

STRIP = "return document.querySelector('.view').getContext('2d').getImageData(0, 150, 400, 1).data.join()"
COLOUR_TOLERANCE = 3
"""Of 255: the canvas rounds when it blends."""
DROP = """
const [data, name, kind] = arguments;
const bytes = Uint8Array.from(atob(data), (c) => c.charCodeAt(0));
const transfer = new DataTransfer();
transfer.items.add(new File([bytes], name, {type: "image/png"}));
const event = kind === "drop" ? new DragEvent("drop", {dataTransfer: transfer, cancelable: true, bubbles: true})
  : new ClipboardEvent("paste", {clipboardData: transfer, bubbles: true});
document.body.dispatchEvent(event);
"""


@pytest.fixture(scope="module")
def browser():
    with chromium() as driver:
        driver.set_window_size(1100, 1400)
        yield driver


@pytest.fixture(scope="module")
def engine(tiny_manifest):
    return ArithmeticEngine(tiny_manifest)


@pytest.fixture(scope="module")
def address(engine):
    with serving(engine) as (base, _):
        yield base


@pytest.fixture
def page(browser, address):
    browser.get(address)
    WebDriverWait(browser, 10).until(lambda b: b.execute_script("return document.documentElement.dataset.ready"))
    yield browser
    severe = [entry["message"] for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]
    assert [message for message in severe if "415" not in message] == []


@pytest.fixture
def files(tmp_path):
    """A dark image (real), a bright one (ai), and a file that is no image."""
    (tmp_path / "dark.png").write_bytes(encode(40 + picture(1, 160, 120) // 8))
    (tmp_path / "bright.jpg").write_bytes(encode(200 + picture(2, 120, 160) // 8, "JPEG"))
    (tmp_path / "<b>notes<i>.txt").write_text("no image")
    return [tmp_path / name for name in ("dark.png", "bright.jpg", "<b>notes<i>.txt")]


def choose(page, files):
    page.find_element(By.ID, "files").send_keys("\n".join(map(str, files)))
    return finished(page, len(files))


def finished(page, count):
    text = f"{count} of {count} done"
    WebDriverWait(page, 20).until(lambda b: b.find_element(By.ID, "count").text.startswith(text))
    return page.find_elements(By.CSS_SELECTOR, ".card")


def test_chosen_images_become_cards(page, files, engine):
    cards = choose(page, files)
    assert [card.get_attribute("data-state") for card in cards] == ["real", "ai", "error"]
    words = [card.find_element(By.CLASS_NAME, "word").text for card in cards]
    assert words == ["Likely real", "Likely AI-generated", "Not scored"]
    assert cards[2].find_element(By.CLASS_NAME, "name").text == "<b>notes<i>.txt"
    assert "not a readable image" in cards[2].find_element(By.CLASS_NAME, "reasons").text
    promises = [card.find_element(By.CLASS_NAME, "promise").text for card in cards]
    assert promises == ["at most 10 % of AI images get this", "at most 5 % of real images get this", ""]
    assert cards[0].find_element(By.CLASS_NAME, "below").text == "real below 45 %"
    assert cards[0].find_element(By.CLASS_NAME, "from").text == "AI from 55 %"
    marks = [float(mark.get_attribute("x1")) for mark in cards[0].find_elements(By.CSS_SELECTOR, ".scale .mark")]
    assert marks == [pytest.approx(45, abs=0.1), pytest.approx(55, abs=0.1)]
    assert "a new kind can exceed" in page.find_element(By.ID, "reading").text
    record = Detector(engine, engine.manifest).detect(files[1])
    meter = cards[1].find_element(By.CSS_SELECTOR, "[role=meter]")
    assert abs(float(meter.get_attribute("aria-valuenow")) - 100 * record.probability) < 0.1
    assert [li.text for li in cards[1].find_elements(By.CSS_SELECTOR, ".reasons li")] == [
        reason.text for reason in record.reasons
    ]
    assert page.find_element(By.ID, "banner").is_displayed()
    assert page.find_element(By.ID, "live").get_attribute("textContent")


def test_no_green_real_beside_a_probability_above_one_half(browser, engine, files):
    """At a base rate that turns every probability."""
    with serving(engine, ServeOptions(scoring=ServedScoring(prior=0.999), drain=0)) as (base, _):
        browser.get(base)
        WebDriverWait(browser, 10).until(lambda b: b.execute_script("return document.documentElement.dataset.ready"))
        (card,) = choose(browser, files[:1])
        assert card.get_attribute("data-state") == "real"
        assert "uncertain" in card.get_attribute("class").split()
        assert "real" not in card.get_attribute("class").split()
        assert card.find_element(By.CLASS_NAME, "word").text == "Real"
        assert CONTRARY in card.find_element(By.CLASS_NAME, "reasons").text
        assert "99.9 % of the images" in browser.find_element(By.ID, "reading").text
        browser.get("about:blank")


def test_the_heatmap_has_the_colours_of_the_fixed_scale(page, files, engine):
    card = choose(page, files[:1])[0]
    page.execute_script("window.scrollTo(0, document.body.scrollHeight)")
    legend = page.find_element(By.ID, "legend").text
    assert "contextual anomaly" in legend
    assert "80" in legend
    assert "fixed scale" in legend
    # Every centre of a patch: what the canvas shows is photograph in grey and colour at the stated opacity.
    seen = page.execute_script(
        """const view = document.querySelector(".view"), pen = view.getContext("2d"), grid = arguments[0];
        const zoom = Math.min(view.width / 160, view.height / 120), side = 120 * arguments[1] * zoom;
        const left = (view.width - side) / 2, top = (view.height - side) / 2, step = side / grid, out = [];
        for (let i = 0; i < grid * grid; i++) {
          const x = left + (i % grid + .5) * step, y = top + (Math.floor(i / grid) + .5) * step;
          out.push([...pen.getImageData(x, y, 1, 1).data.slice(0, 3)]);
        }
        return out;""",
        engine.manifest.backbone.config.grid, engine.manifest.preprocess.crop / engine.manifest.preprocess.resize_short,
    )
    record = Detector(engine, engine.manifest).detect(files[0])
    table = colour_table()[np.rint(np.clip(record.lcas / 80, 0, 1) * 255).astype(int)].astype(float)
    grey = (np.asarray(seen) - 0.62 * table) / 0.38
    assert np.ptp(grey, axis=1).max() <= COLOUR_TOLERANCE / 0.38
    flip = card.find_element(By.CLASS_NAME, "flip")
    flip.click()
    assert flip.get_attribute("aria-pressed") == "false"
    plain = page.execute_script(STRIP)
    flip.click()
    again = page.execute_script(STRIP)
    assert plain != again


def test_images_as_they_are_found(page, data_root):
    found = sorted(path for path in (data_root / "raw").rglob("*") if path.is_file())
    cards = choose(page, found[::3])
    assert "error" not in [card.get_attribute("data-state") for card in cards]
    for card in cards:
        page.execute_script("arguments[0].scrollIntoView()", card)
        WebDriverWait(page, 10).until(lambda b, card=card: b.execute_script(
            "const v = arguments[0].querySelector('.view'); return v.width > 100 && "
            "new Set(v.getContext('2d').getImageData(0, v.height / 2, v.width, 1).data).size > 8", card))


@pytest.mark.parametrize("kind", ["drop", "paste"])
def test_dropped_and_pasted_images_are_scored(page, files, kind):
    page.execute_script(DROP, base64.b64encode(files[0].read_bytes()).decode(), "clip.png", kind)
    (card,) = finished(page, 1)
    assert card.get_attribute("data-state") == "real"


def test_a_request_that_failed_is_tried_again(page, files):
    page.execute_script(
        "const real = fetch; window.fetch = () => { window.fetch = real; return Promise.reject(TypeError('down')); }"
    )
    (card,) = choose(page, files[:1])
    assert card.get_attribute("data-state") == "error"
    assert "the server cannot be reached" in card.find_element(By.CLASS_NAME, "reasons").text
    card.find_element(By.CLASS_NAME, "retry").click()
    wait(page, "document.querySelector('.card').dataset.state === 'real'", 20)
    assert "error" not in card.get_attribute("class").split()
    assert not card.find_element(By.CLASS_NAME, "retry").is_displayed()
    assert finished(page, 1) == [card]


def test_a_file_that_is_no_image_is_not_offered_again(page, files):
    (card,) = choose(page, files[2:])
    assert not card.find_element(By.CLASS_NAME, "retry").is_displayed()


def test_the_sample_is_scored(page):
    page.find_element(By.ID, "sample").click()
    (card,) = finished(page, 1)
    assert card.find_element(By.CLASS_NAME, "name").text == "sample.jpg"
    assert card.get_attribute("data-state") != "error"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing(page, files, address, request, scheme):
    modules = npm_modules(request.config.cache.mkdir("cinemae-npm"))
    preference = {"name": "prefers-color-scheme", "value": scheme}
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [preference]})
    choose(page, files)
    assert axe_findings(page, modules) == []
    page.get(f"{address}/docs")
    wait(page, "document.documentElement.dataset.ready", 10)
    assert axe_findings(page, modules) == []
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


@pytest.mark.parametrize("token", [None, "abc"])
def test_the_interface_at_docs_under_the_content_policy(browser, engine, token):
    with serving(engine, ServeOptions(token=token, drain=0)) as (base, _):
        with urllib.request.urlopen(f"{base}/docs") as answer:
            assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
        browser.get_log("browser")
        browser.get(f"{base}/docs")
        if token:
            wait(browser, "!document.getElementById('ask').hidden", 10)
            browser.find_element(By.ID, "token").send_keys(token, Keys.ENTER)
        wait(browser, "document.documentElement.dataset.ready", 10)
        assert browser.find_element(By.ID, "example").text == f"curl --data-binary @photo.jpg {base}/v1/detect"
        assert "POST /v1/detect" in [heading.text for heading in browser.find_elements(By.TAG_NAME, "h2")]
        assert not browser.find_element(By.ID, "ask").is_displayed()
        severe = [entry["message"] for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]
        assert ["401" in message for message in severe] == ([True] if token else [])
        browser.get("about:blank")


def test_everything_is_reached_with_the_keyboard(page, files):
    choose(page, files[:1])
    page.execute_script("document.activeElement.blur()")
    reached = []
    for _ in range(12):
        ActionChains(page).send_keys(Keys.TAB).perform()
        reached.append(page.execute_script("const a = document.activeElement; return a.id || a.className || a.tagName"))
    for name in ("theme", "files", "heat", "save", "clear", "quiet flip", "SUMMARY"):
        assert name in reached
    page.find_element(By.TAG_NAME, "summary").send_keys(Keys.ENTER)
    assert "SHA-256" in page.find_element(By.TAG_NAME, "details").text
    page.find_element(By.ID, "clear").send_keys(Keys.SPACE)
    assert page.find_elements(By.CSS_SELECTOR, ".card") == []


def test_light_and_dark(page):
    colours = {}
    for scheme in ("light", "dark"):
        preference = {"name": "prefers-color-scheme", "value": scheme}
        page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [preference]})
        colours[scheme] = page.execute_script("return getComputedStyle(document.body).backgroundColor")
    assert colours["light"] != colours["dark"]
    page.find_element(By.ID, "theme").click()
    assert page.execute_script("return getComputedStyle(document.body).backgroundColor") == colours["light"]
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


def test_nothing_is_loaded_from_elsewhere(page, files, address):
    choose(page, files[:2])
    loaded = page.execute_script("return performance.getEntriesByType('resource').map((entry) => entry.name)")
    assert len(loaded) >= 5
    assert [name for name in loaded if not name.startswith((address, "blob:"))] == []


def test_a_server_with_a_token_asks_for_it(browser, engine, files):
    with serving(engine, ServeOptions(token="abc", drain=0)) as (base, _):
        browser.get(base)
        dialog = browser.find_element(By.ID, "ask")
        WebDriverWait(browser, 10).until(lambda b: dialog.get_attribute("open") is not None)
        browser.find_element(By.ID, "token").send_keys("abc", Keys.ENTER)
        WebDriverWait(browser, 10).until(lambda b: b.execute_script("return document.documentElement.dataset.ready"))
        (card,) = choose(browser, files[:1])
        assert card.get_attribute("data-state") == "real"
        browser.get("about:blank")
