"""The server's page in headless Chromium: its cards, heatmaps, keys, colours, token and interface description."""

from __future__ import annotations

import base64
import csv
import io
import urllib.request

import pytest

pytest.importorskip("fastapi", reason="needs the serve extra")
pytest.importorskip("selenium")

import numpy as np
from browser import chromium
from cinemae.runtime.core.colour_map import colour_table
from cinemae.runtime.scoring.detector import Detector
from cinemae.runtime.scoring.reading import CONTRARY
from cinemae.runtime.scoring.record import FLAT_FIELDS
from cinemae.runtime.serve.options import ServedScoring, ServeOptions
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys
from serve_tools import ArithmeticEngine, encode, picture, serving
from web_site import axe_findings, npm_modules, saved, wait

pytestmark = pytest.mark.browser

READY = "document.documentElement.dataset.ready"
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
    wait(browser, READY, 10)
    yield browser
    scheme(browser, "")
    severe = [entry["message"] for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]
    assert [message for message in severe if "415" not in message] == []


@pytest.fixture
def files(tmp_path):
    """A dark image (real), a bright one (ai), and a file that is no image."""
    (tmp_path / "dark.png").write_bytes(encode(40 + picture(1, 160, 120) // 8))
    (tmp_path / "bright.jpg").write_bytes(encode(200 + picture(2, 120, 160) // 8, "JPEG"))
    (tmp_path / "<b>notes<i>.txt").write_text("no image")
    return [tmp_path / name for name in ("dark.png", "bright.jpg", "<b>notes<i>.txt")]


def scheme(page, value):
    features = [{"name": "prefers-color-scheme", "value": value}] if value else []
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})


def choose(page, files):
    page.find_element("id", "files").send_keys("\n".join(map(str, files)))
    return finished(page, len(files))


def finished(page, count):
    wait(page, f"document.getElementById('count').textContent.startsWith('{count} of {count} done')", 20)
    return page.find_elements("css selector", ".card")


def states(cards):
    return [card.get_attribute("data-state") for card in cards]


def text(card, name):
    return card.find_element("class name", name).text


def test_chosen_images_become_cards(page, files, engine):
    cards = choose(page, files)
    assert states(cards) == ["real", "ai", "error"]
    assert [text(card, "word") for card in cards] == ["Likely real", "Likely AI-generated", "Not scored"]
    assert text(cards[2], "name") == "<b>notes<i>.txt"
    assert "not a readable image" in text(cards[2], "why")
    promises = ["at most 10 % of the AI images of a source get", "at most 5 % of the real images of a source get", ""]
    assert [text(card, "promise").partition(" this")[0] for card in cards] == promises
    assert len(cards[0].find_elements("css selector", ".place .measured")) == 2
    marks = [float(mark.get_attribute("x1")) for mark in cards[1].find_elements("css selector", ".place line")]
    assert marks[0] < marks[1] < marks[2]  # real below, AI from, the score
    assert "a new kind can exceed" in page.find_element("id", "reading").text
    record = Detector(engine, engine.manifest).detect(files[1])
    assert text(cards[1], "support").lower() == record.likelihood_ratio.text.lower()
    shown = [item.text for item in cards[1].find_elements("css selector", ".why li")]
    assert shown == [reason.text for reason in record.reasons]
    assert page.find_element("id", "banner").is_displayed()
    assert page.find_element("id", "live").get_attribute("textContent")
    loaded = page.execute_script("return performance.getEntriesByType('resource').map((entry) => entry.name)")
    assert len(loaded) >= 5
    assert [name for name in loaded if not name.startswith((page.current_url, "blob:"))] == []


def test_no_green_real_beside_a_probability_above_one_half(browser, engine, files):
    """At a base rate that turns every probability."""
    with serving(engine, ServeOptions(scoring=ServedScoring(prior=0.999), drain=0)) as (base, _):
        browser.get(base)
        wait(browser, READY, 10)
        (card,) = choose(browser, files[:1])
        assert states([card]) == ["real"]
        assert {"uncertain", "real"} & set(card.get_attribute("class").split()) == {"uncertain"}
        assert text(card, "word") == "Real"
        assert text(card, "against").lower() == CONTRARY
        assert "99.9 % of the images" in browser.find_element("id", "reading").text
        browser.get("about:blank")


def test_the_heatmap_has_the_colours_of_the_fixed_scale(page, files, engine):
    card = choose(page, files[:1])[0]
    page.execute_script("window.scrollTo(0, document.body.scrollHeight)")
    legend = page.find_element("id", "legend").text
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
    flip = card.find_element("class name", "flip")
    flip.click()
    assert flip.get_attribute("aria-pressed") == "false"
    plain = page.execute_script(STRIP)
    flip.click()
    assert page.execute_script(STRIP) != plain


def test_images_as_they_are_found(page, data_root):
    found = sorted(path for path in (data_root / "raw").rglob("*") if path.is_file())
    cards = choose(page, found[::3])
    assert "error" not in states(cards)
    for card in cards:
        page.execute_script("arguments[0].scrollIntoView()", card)
        view = f"document.querySelectorAll('.view')[{cards.index(card)}]"
        pixels = f"{view}.getContext('2d').getImageData(0, {view}.height / 2, {view}.width, 1).data"
        wait(page, f"{view}.width > 100 && new Set({pixels}).size > 8", 10)


@pytest.mark.parametrize("kind", ["drop", "paste"])
def test_dropped_and_pasted_images_are_scored(page, files, kind):
    page.execute_script(DROP, base64.b64encode(files[0].read_bytes()).decode(), "clip.png", kind)
    assert states(finished(page, 1)) == ["real"]


def test_a_folder_is_chosen_and_saved_as_csv(page, tmp_path):
    """With a file that declares AI: its badge, its facts, its raw text, what is next."""
    album = tmp_path / "album"
    album.mkdir()
    parameters = PngInfo()
    parameters.add_text("parameters", "=a cat\nSteps: 20, Sampler: Euler a, CFG scale: 7, Seed: 1, Size: 64x64")
    with Image.open(io.BytesIO(encode(40 + picture(1, 160, 120) // 8))) as image:
        image.save(album / "b.png", pnginfo=parameters)
    (album / "a.png").write_bytes(encode(120 + picture(3, 160, 120) // 8))
    (album / "notes.txt").write_text("not taken from folders")
    page.find_element("id", "folder").send_keys(str(album))
    cards = finished(page, 2)
    assert [text(card, "name") for card in cards] == ["album/a.png", "album/b.png"]
    assert "1 file declares AI" in page.find_element("id", "count").text
    assert [text(card, "badges") for card in cards] == ["", "declares AI"]
    assert "Stable Diffusion WebUI" in text(cards[1], "told")
    assert text(cards[1], "next").startswith("Next: ask what made it")
    first, *rows = csv.reader(io.StringIO(saved(page, "save-csv")))
    assert tuple(first) == FLAT_FIELDS
    assert [row[first.index("path")] for row in rows] == ["album/a.png", "album/b.png"]
    assert "Stable Diffusion WebUI" in rows[1][first.index("evidence")]
    cards[1].find_element("tag name", "summary").click()
    cards[1].find_element("css selector", "dd summary").click()
    assert cards[1].find_element("css selector", "dd pre").text.startswith("=a cat")


def test_only_a_request_that_failed_is_tried_again(page, files):
    page.execute_script(
        "const real = fetch; window.fetch = () => { window.fetch = real; return Promise.reject(TypeError('down')); }"
    )
    (card,) = choose(page, files[:1])
    assert states([card]) == ["error"]
    assert "the server cannot be reached" in text(card, "why")
    card.find_element("class name", "retry").click()
    wait(page, "document.querySelector('.card').dataset.state === 'real'", 20)
    assert "error" not in card.get_attribute("class").split()
    assert not card.find_element("class name", "retry").is_displayed()
    page.find_element("id", "files").send_keys(str(files[2]))
    assert not finished(page, 2)[1].find_element("class name", "retry").is_displayed()


def test_the_sample_is_scored(page):
    page.find_element("id", "sample").click()
    (card,) = finished(page, 1)
    assert text(card, "name") == "sample.jpg"
    assert states([card]) != ["error"]


@pytest.mark.parametrize("value", ["light", "dark"])
def test_axe_finds_nothing(page, files, address, request, value):
    modules = npm_modules(request.config.cache.mkdir("cinemae-npm"))
    scheme(page, value)
    choose(page, files)
    assert axe_findings(page, modules) == []
    page.get(f"{address}/docs")
    wait(page, READY, 10)
    assert axe_findings(page, modules) == []


@pytest.mark.parametrize("token", [None, "abc"])
def test_a_token_is_asked_for_by_the_page_and_by_the_interface_at_docs(browser, engine, files, token):
    with serving(engine, ServeOptions(token=token, drain=0)) as (base, _):
        with urllib.request.urlopen(f"{base}/docs") as answer:
            assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
        browser.get_log("browser")
        browser.get(f"{base}/docs")
        if token:
            wait(browser, "!document.getElementById('ask').hidden", 10)
            browser.find_element("id", "token").send_keys(token, Keys.ENTER)
        wait(browser, READY, 10)
        assert browser.find_element("id", "example").text == f"curl --data-binary @photo.jpg {base}/v1/detect"
        assert "POST /v1/detect" in [heading.text for heading in browser.find_elements("tag name", "h2")]
        assert not browser.find_element("id", "ask").is_displayed()
        severe = [entry["message"] for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]
        assert ["401" in message for message in severe] == ([True] if token else [])
        browser.get(base)
        if token:
            wait(browser, "document.getElementById('ask').open", 10)
            browser.find_element("id", "token").send_keys(token, Keys.ENTER)
        wait(browser, READY, 10)
        assert states(choose(browser, files[:1])) == ["real"]
        browser.get("about:blank")
        browser.get_log("browser")


def test_everything_is_reached_with_the_keyboard(page, files):
    choose(page, files[:1])
    page.execute_script("document.activeElement.blur()")
    reached = []
    for _ in range(14):
        ActionChains(page).send_keys(Keys.TAB).perform()
        reached.append(page.execute_script("const a = document.activeElement; return a.id || a.className || a.tagName"))
    assert {"theme", "files", "folder", "heat", "save", "save-csv", "clear", "quiet flip", "SUMMARY"} <= set(reached)
    page.find_element("tag name", "summary").send_keys(Keys.ENTER)
    assert "SHA-256" in page.find_element("tag name", "details").text
    page.find_element("id", "clear").send_keys(Keys.SPACE)
    assert page.find_elements("css selector", ".card") == []


def test_light_and_dark(page):
    colours = []
    for value in ("light", "dark"):
        scheme(page, value)
        colours.append(page.execute_script("return getComputedStyle(document.body).backgroundColor"))
    assert colours[0] != colours[1]
    page.find_element("id", "theme").click()
    assert page.execute_script("return getComputedStyle(document.body).backgroundColor") == colours[0]
