"""The site in headless Chromium: scores, verdicts, heatmap, folders, drop and paste, keyboard, axe, small screens."""

from __future__ import annotations

import csv
import io
from dataclasses import replace

import pytest
from cinemae.runtime.images.formats import IMAGE_SUFFIXES
from cinemae.runtime.scoring.record import FLAT_FIELDS, RATIO_COLUMNS, RECORD_FIELDS, flat
from pictures import encoded, picture
from PIL import Image
from web_site import JPEG_LOGIT, SAME, agree, axe_findings, open_site, saved, score, wait

pytestmark = pytest.mark.browser

GOLDEN = 1e-3


@pytest.mark.parametrize("threads", [1, 2])
def test_the_golden_logit(browser, address, detector, threads):
    state = open_site(browser, f"{address}?threads={threads}")
    cpus = browser.execute_script("return navigator.hardwareConcurrency")
    assert (state["device"], state["threads"]) == ("wasm", str(min(threads, cpus)))
    assert abs(float(state["golden"]) - detector.manifest.golden.logit) < GOLDEN


def test_records_are_the_runtimes(page, files, detector):
    records = score(page, files)
    assert [record["path"] for record in records] == [path.name for path in files]
    assert all(tuple(record) == RECORD_FIELDS for record in records)
    for record, path in zip(records[:3], files, strict=False):
        agree(record, detector.detect(path), JPEG_LOGIT if path.suffix == ".jpg" else SAME)
    refused = detector.detect(files[3])
    assert records[3] == {**refused.to_dict(), "path": files[3].name}
    cards = page.find_elements("css selector", ".card")
    assert [card.find_element("css selector", ".flip").is_displayed() for card in cards] == [True] * 3 + [False]
    assert "contextual anomaly" in page.find_element("id", "legend").text
    assert page.find_element("id", "banner").is_displayed()
    cells = list(csv.reader(io.StringIO(saved(page, "save-csv"))))
    assert tuple(cells[0]) == FLAT_FIELDS
    numbers = {"path", "probability", "logit", "s1", "s2", "s3", *RATIO_COLUMNS}
    for row, path in zip(cells[1:], files, strict=True):
        want = flat(replace(detector.detect(path), evidence=()))
        cells_of = {name: "" if value is None else str(value) for name, value in want.items()}
        assert {name for name, cell in zip(cells_of, row, strict=True) if cell != cells_of[name]} <= numbers


@pytest.mark.data
def test_forty_development_images_have_the_verdicts_of_the_command(page, data_root, detector):
    paths = sorted(path for path in (data_root / "raw").rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES)
    assert len(paths) == 40
    for record, wanted in zip(score(page, paths), detector.detect_many(paths), strict=True):
        agree(record, wanted, JPEG_LOGIT)


def test_orientation_of_jpeg_and_webp(page, tmp_path, detector):
    paths = []
    for kind in ("JPEG", "WEBP"):
        for orientation in range(1, 9):
            exif = Image.Exif()
            exif[0x0112] = orientation
            paths.append(tmp_path / f"{orientation}.{kind.lower()}")
            paths[-1].write_bytes(encoded(picture(320, 280, 4), kind, quality=95, exif=exif))
    for record, path in zip(score(page, paths), paths, strict=True):
        agree(record, detector.detect(path), JPEG_LOGIT)


def test_folders_by_choice_and_by_drop(page, tmp_path):
    folder = tmp_path / "album" / "deep"
    folder.mkdir(parents=True)
    (folder / "z.png").write_bytes(encoded(picture(80, 80)))
    (folder / "notes.txt").write_text("not taken from folders")
    (tmp_path / "album" / "a.PNG").write_bytes(encoded(picture(90, 80, 5)))
    names = ["album/a.PNG", "album/deep/z.png"]
    assert [record["path"] for record in score(page, [tmp_path / "album"], "folder")] == names
    page.find_element("id", "clear").click()
    # A real drop cannot be made here: entries as a browser makes them of a dropped folder.
    page.execute_script("""
    const file = (name, text) => (
      { isDirectory: false, name, fullPath: `/album/${name}`, file: (done) => done(new File([text], name)) });
    const folder = { isDirectory: true, name: "album", fullPath: "/album", createReader() {
      const parts = [[file("b.png", "x")], [file("a.jpg", "x"), file("c.txt", "x")], []];
      return { readEntries: (done) => done(parts.shift()) };
    } };
    const event = new Event("drop", { bubbles: true, cancelable: true });
    event.dataTransfer = { items: [{ webkitGetAsEntry: () => folder }], files: [] };
    document.body.dispatchEvent(event);
    """)
    wait(page, "document.getElementById('count').textContent.startsWith('2 of 2')")
    assert [record["path"] for record in saved(page, "save")] == ["album/a.jpg", "album/b.png"]


def test_the_sites_own_controls_are_reached_by_keyboard(page, files):
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.keys import Keys

    score(page, files[:1])
    page.execute_script("document.activeElement.blur(); scrollTo(0, 0)")
    reached = set()
    for _ in range(8):
        ActionChains(page).send_keys(Keys.TAB).perform()
        reached.add(page.execute_script("return document.activeElement.id"))
    assert {"files", "folder", "save", "save-csv"} <= reached
    outline = page.execute_script("document.getElementById('folder').focus(); "
                                  "return getComputedStyle(document.querySelector('[for=folder]')).outlineStyle")
    assert outline == "solid"


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing(page, files, modules, theme):
    score(page, files)
    page.execute_script("document.documentElement.dataset.theme = arguments[0]", theme)
    page.execute_script("document.querySelector('details').open = true")
    assert axe_findings(page, modules) == []


@pytest.mark.parametrize("width", [320, 390, 1280])
def test_nothing_is_wider_than_the_screen(page, files, width):
    metrics = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 500}
    page.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    score(page, files)
    assert page.execute_script("return document.documentElement.scrollWidth") <= width
    page.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_the_site_can_be_installed(page):
    page.execute_async_script("navigator.serviceWorker.ready.then(arguments[0])")
    assert page.execute_cdp_cmd("Page.getInstallabilityErrors", {})["installabilityErrors"] == []
