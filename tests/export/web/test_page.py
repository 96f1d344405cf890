"""The site in headless Chromium: scores, verdicts, offline, damaged files, policy, folders, keyboard, axe."""

from __future__ import annotations

import csv
import http.server
import io
import json
import shutil
import threading
from pathlib import Path

import numpy as np
import onnx
import pytest
from cinemae.export.fused import export_fused, write_fused
from cinemae.export.graph.packed import PackedDetector
from cinemae.export.graph.tracing import FUSED, trace
from cinemae.export.int8.recipe import plan
from cinemae.export.int8.rewrite import CONTRIB, quantise_for_cpu
from cinemae.export.parity import parity_images
from cinemae.export.web import onnxruntime_web
from cinemae.export.web.site import write_site
from cinemae.runtime import Detector
from cinemae.runtime.engines.load import bundled_path
from cinemae.runtime.engines.onnx_file import read_manifest
from cinemae.runtime.preprocess import IMAGE_SUFFIXES
from cinemae.runtime.records import RECORD_FIELDS
from cinemae.runtime.scan.writers import CSV_COLUMNS, csv_row
from pictures import encoded, picture
from PIL import Image
from web_site import open_site, saved, score, served, wait

pytestmark = pytest.mark.slow

GOLDEN = 1e-3
JPEG_LOGIT = 1e-3
"""Chromium's JPEG decoder gives Pillow's pixels: see benchmarks/web.md. This is room for another build of either."""
SAME = 1e-4
"""Logits of equal pixels: the same kernels, compiled for another machine."""


@pytest.fixture
def page(browser, address):
    """The site, loaded and ready; nothing may have gone wrong in its console when the test ends."""
    browser.get("about:blank")
    browser.get_log("browser")
    open_site(browser, address)
    yield browser
    assert [entry["message"] for entry in browser.get_log("browser") if entry["level"] == "SEVERE"] == []


@pytest.fixture(scope="module")
def detector():
    with Detector.load() as loaded:
        yield loaded


@pytest.fixture
def files(tmp_path):
    """A PNG, a JPEG, a grayscale PNG, and a file that is no image."""
    (tmp_path / "a.png").write_bytes(encoded(picture(300, 280, 1)))
    (tmp_path / "b.jpg").write_bytes(encoded(picture(280, 300, 2), "JPEG", quality=90))
    (tmp_path / "gray, small.png").write_bytes(encoded(picture(100, 90, 3).convert("L")))
    (tmp_path / "<b>notes<i>.txt").write_text("no image")
    return [tmp_path / name for name in ("a.png", "b.jpg", "gray, small.png", "<b>notes<i>.txt")]


def agree(found: dict, wanted, tolerance: float) -> None:
    """A record of the page against the runtime's."""
    assert found["status"] == wanted.status, (found, wanted)
    assert found["verdict"] == wanted.verdict, (found, wanted)
    assert found["reasons"] == list(wanted.reasons)
    assert (found["width"], found["height"], found["sha256"]) == (wanted.width, wanted.height, wanted.sha256)
    assert (found["engine"], found["schema"]) == (wanted.engine, wanted.schema)
    assert found["logit"] == pytest.approx(wanted.logit, abs=tolerance)
    assert found["probability"] == pytest.approx(wanted.probability, abs=tolerance)


def test_the_golden_logit(browser, address, detector):
    state = open_site(browser, address)
    assert state["device"] == "wasm"
    assert int(state["threads"]) > 1 or browser.execute_script("return navigator.hardwareConcurrency") == 1
    assert abs(float(state["golden"]) - detector.manifest.golden.logit) < GOLDEN


def test_records_are_the_runtimes(page, files, detector):
    records = score(page, files)
    assert [record["path"] for record in records] == [path.name for path in files]
    assert all(tuple(record) == RECORD_FIELDS for record in records)
    for record, path in zip(records[:3], files, strict=False):
        agree(record, detector.detect(path), JPEG_LOGIT if path.suffix == ".jpg" else SAME)
    refused = detector.detect(files[3])
    assert (records[3]["status"], records[3]["error"], records[3]["sha256"]) == ("error", refused.error, refused.sha256)
    words = [node.text for node in page.find_elements("css selector", ".card .word")]
    assert words[3] == "Not scored"
    assert page.find_element("id", "banner").is_displayed()
    cells = list(csv.reader(io.StringIO(saved(page, "save-csv"))))
    assert tuple(cells[0]) == CSV_COLUMNS
    wanted = [csv_row(detector.detect(path)) for path in files]
    for row, want in zip(cells[1:], wanted, strict=True):
        assert row[1:4] + row[9:] == [str(value) for value in want[1:4] + want[9:]]


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


def test_nothing_leaves_the_machine(browser, demo_site, files):
    """Only files of the site are asked for, and its policy stops the page and the worker from asking elsewhere."""
    asked = []

    class Other(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(200)
            self.send_header("Access-Control-Allow-Origin", "*")
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_POST = do_GET

        def log_message(self, *arguments) -> None:
            pass

    other = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Other)
    threading.Thread(target=other.serve_forever, daemon=True).start()
    elsewhere = f"http://127.0.0.1:{other.server_port}/leak"
    with served(demo_site) as (base, server):
        open_site(browser, f"{base}/apps/detector/")
        score(browser, files)
        assert {method for method, _ in server.asked} == {"GET"}
        assert {path.rpartition("/")[0] for _, path in server.asked} <= {"/apps/detector", "/apps/detector/ort"}
        script = "const done = arguments[1]; fetch(arguments[0]).then(() => done('sent'), () => done('refused'))"
        assert browser.execute_async_script(script, elsewhere) == "refused"
        worker = """
        const [url, done] = arguments;
        const code = `fetch(${JSON.stringify(url)}).then(() => postMessage("sent"), () => postMessage("refused"))`;
        new Worker(URL.createObjectURL(new Blob([code]))).onmessage = ({ data }) => done(data);
        """
        assert browser.execute_async_script(worker, elsewhere) == "refused"
    browser.get_log("browser")
    other.shutdown()
    assert asked == []


def test_it_works_without_a_network_once_visited(browser, demo_site, files):
    with served(demo_site) as (base, _):
        address = f"{base}/apps/detector/"
        open_site(browser, address)
        browser.execute_async_script("navigator.serviceWorker.ready.then(arguments[0])")
        wait(browser, "navigator.serviceWorker.controller !== null")
    state = open_site(browser, address)  # the server is gone
    assert state["device"] == "wasm"
    assert score(browser, files[:1])[0]["status"] == "ok"
    browser.get_log("browser")


def test_without_the_headers_it_runs_on_one_thread_until_reloaded(browser, demo_site, files, detector):
    with served(demo_site, isolated=False) as (base, _):
        state = open_site(browser, f"{base}/apps/detector/")
        assert state["threads"] == "1"
        agree(score(browser, files[:1])[0], detector.detect(files[0]), SAME)
        assert "one thread" in browser.find_element("id", "device").text
        wait(browser, "navigator.serviceWorker.controller !== null")
        state = open_site(browser, f"{base}/apps/detector/")
        assert browser.execute_script("return crossOriginIsolated")


def test_onnxruntime_from_another_address(browser, modules, tmp_path, monkeypatch, files, detector):
    shared = {"Access-Control-Allow-Origin": "*", "Cross-Origin-Resource-Policy": "cross-origin"}
    with served(modules / "onnxruntime-web" / "dist", more=shared) as (elsewhere, server):
        monkeypatch.setattr(onnxruntime_web, "ADDRESS", f"{elsewhere}/")
        write_site(bundled_path(), detector.manifest, tmp_path / "site", None)
        with served(tmp_path / "site") as (base, _):
            open_site(browser, base)
            agree(score(browser, files[:1])[0], detector.detect(files[0]), SAME)
        assert {method for method, _ in server.asked} == {"GET"}


@pytest.mark.parametrize("name", ["cinemae-demo.onnx", "ort/ort-wasm-simd-threaded.wasm"])
def test_a_damaged_file_is_refused_by_its_hash(browser, demo_site, tmp_path, name):
    shutil.copytree(demo_site / "apps" / "detector", tmp_path / "site")
    with (tmp_path / "site" / name).open("r+b") as file:
        file.seek(5_000_000)
        byte = file.read(1)
        file.seek(5_000_000)
        file.write(bytes([byte[0] ^ 1]))
    with served(tmp_path / "site") as (base, _):
        browser.get(f"{base}/")
        text = wait(browser, "document.querySelector('#loading[role=alert]')?.textContent.trim()")
    assert f"{name} does not match its SHA-256" in text
    assert browser.execute_script("return document.getElementById('drop').inert")
    browser.get_log("browser")


def test_a_page_opened_from_the_disk_says_what_to_do(browser, demo_site):
    browser.get((demo_site / "apps" / "detector" / "index.html").as_uri())
    assert "python3 -m http.server" in browser.find_element("id", "loading-text").text
    browser.get_log("browser")


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
    """)  # fmt: skip
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
                                           "return id || className || tagName"))  # fmt: skip
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
    page.execute_script((modules / "axe-core" / "axe.min.js").read_text())
    found = page.execute_async_script("const done = arguments[0]; axe.run().then(({ violations }) => done(violations))")
    assert [(rule["id"], [node["html"] for node in rule["nodes"]]) for rule in found] == []


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


def int8_engine(detector, manifest, path):
    packed = PackedDetector(detector)
    images = parity_images(8, 64)
    plans = plan(packed, [images[:4], images[4:]])
    import torch

    model = trace(packed, (torch.zeros(2, 64, 64, 3, dtype=torch.uint8),), FUSED)
    quantise_for_cpu(model, packed, plans)
    assert any(node.domain == CONTRIB for node in model.graph.node)
    write_fused(model, manifest, path, "int8")


def half_stored_engine(detector, manifest, path):
    from cinemae.export.fused import fused_graph
    from cinemae.export.graph.compact import compact

    model = fused_graph(detector)
    for tensor in model.graph.initializer:
        if tensor.data_type == onnx.TensorProto.FLOAT:
            values = onnx.numpy_helper.to_array(tensor).astype(np.float16).astype(np.float32)
            tensor.raw_data = values.tobytes()
    assert compact(model) > 0
    write_fused(model, manifest, path, "fp32")


@pytest.mark.parametrize("kind", ["float32", "float16-stored", "fp16", "int8"])
def test_every_precision_runs(browser, modules, tiny_detector, tiny_manifest, tmp_path, kind):
    engine = tmp_path / "my engine.onnx"
    if kind == "int8":
        int8_engine(tiny_detector, tiny_manifest, engine)
    elif kind == "float16-stored":
        half_stored_engine(tiny_detector, tiny_manifest, engine)
    else:
        export_fused(tiny_detector, tiny_manifest, engine, "fp16" if kind == "fp16" else "fp32")
    manifest = read_manifest(engine)
    write_site(engine, manifest, tmp_path / "site", modules)
    image = tmp_path / "a.png"
    image.write_bytes(encoded(picture(300, 280, 1)))
    with served(tmp_path / "site") as (base, _), Detector.load(engine, device="cpu") as detector:
        state = open_site(browser, base)
        assert abs(float(state["golden"]) - manifest.golden.logit) <= manifest.golden.tolerance
        tolerance = SAME if kind.startswith("float") else manifest.golden.tolerance
        agree(score(browser, [image])[0], detector.detect(image), tolerance)
    assert json.loads((tmp_path / "site" / "manifest.json").read_text())["precision"] == manifest.precision


def test_the_bundled_engine_stores_its_weights_in_half():
    kinds = {tensor.data_type for tensor in onnx.load(str(bundled_path())).graph.initializer}
    assert onnx.TensorProto.FLOAT16 in kinds
    assert Path(bundled_path()).is_file()
