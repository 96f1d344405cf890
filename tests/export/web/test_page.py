"""The site in headless Chromium: scores, verdicts, heatmap, folders, drop and paste, keyboard, axe, small screens."""

from __future__ import annotations

import csv
import io
from dataclasses import replace

import pytest
from cinemae.runtime.images.formats import IMAGE_SUFFIXES
from cinemae.runtime.scoring.record import FLAT_FIELDS, RECORD_FIELDS, flat
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
    words = [node.text for node in page.find_elements("css selector", ".card .word")]
    assert words[3] == "Not scored"
    assert page.find_element("id", "banner").is_displayed()
    cells = list(csv.reader(io.StringIO(saved(page, "save-csv"))))
    assert tuple(cells[0]) == FLAT_FIELDS
    numbers = {"path", "probability", "logit", "s1", "s2", "s3"}
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


def test_an_image_has_its_heatmap_in_the_engines_scale(page, files):
    score(page, files[:1])
    assert "contextual anomaly" in page.find_element("id", "legend").text
    flip = page.find_element("css selector", ".flip")
    page.execute_script("arguments[0].scrollIntoView({block: 'center'})", flip)
    strip = "document.querySelector('.view').getContext('2d').getImageData(0, 150, 400, 1).data.join()"
    wait(page, f"new Set({strip}.split(',')).size > 3")
    before = page.execute_script(f"return {strip}")
    flip.click()
    assert page.execute_script(f"return {strip}") != before
    assert flip.get_attribute("aria-pressed") == "false"


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


def test_dropped_and_pasted_images(page, files):
    script = """
    const [data, kind] = arguments, transfer = new DataTransfer();
    transfer.items.add(new File([Uint8Array.from(data)], `${kind}.png`, { type: "image/png" }));
    document.body.dispatchEvent(kind === "drop"
      ? new DragEvent("drop", { dataTransfer: transfer, cancelable: true, bubbles: true })
      : new ClipboardEvent("paste", { clipboardData: transfer, bubbles: true }));
    """
    for kind in ("drop", "paste"):
        page.execute_script(script, list(files[0].read_bytes()), kind)
    wait(page, "document.getElementById('count').textContent.startsWith('2 of 2')")
    found = [(record["path"], record["status"]) for record in saved(page, "save")]
    assert found == [("drop.png", "ok"), ("paste.png", "ok")]


def test_every_control_is_reached_by_keyboard(page, files):
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.keys import Keys

    score(page, files[:1])
    page.execute_script("document.activeElement.blur(); scrollTo(0, 0)")
    reached = []
    for _ in range(14):
        ActionChains(page).send_keys(Keys.TAB).perform()
        reached.append(page.execute_script("const { id, className, tagName } = document.activeElement; "
                                           "return id || className || tagName"))
    for control in ("theme", "files", "folder", "heat", "save", "save-csv", "clear", "quiet flip", "SUMMARY"):
        assert control in reached
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
