"""The site in headless Chromium: nothing leaves the machine, it works offline, and damaged files are refused."""

from __future__ import annotations

import http.server
import shutil
import threading

import pytest
from cinemae.export.web import onnxruntime_web
from cinemae.export.web.site import write_site
from cinemae.runtime.engines.load import bundled_path
from web_site import SAME, agree, open_site, score, served, wait

pytestmark = pytest.mark.browser


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
