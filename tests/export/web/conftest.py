"""The bundled engine as a site, npm's packages, and a browser; whatever is missing skips with its reason."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from browser import chromium
from cinemae.export.web.site import site_data, write_site
from cinemae.runtime import Detector
from cinemae.runtime.engines.file.header import read_manifest
from cinemae.runtime.engines.load import bundled_path
from pictures import encoded, picture
from web_site import node, npm_modules, open_site, served

STATIC = Path(__file__).parents[3] / "export" / "web" / "static"


@pytest.fixture(scope="session")
def modules(request) -> Path:
    """`node_modules` with the pinned onnxruntime-web and axe-core, kept between runs in pytest's cache."""
    return npm_modules(Path(request.config.cache.mkdir("cinemae-npm")))


@pytest.fixture(scope="session")
def demo_site(modules, tmp_path_factory) -> Path:
    """A folder with the bundled engine's site two folders down, at `apps/detector`. Do not modify."""
    root = tmp_path_factory.mktemp("site")
    engine = bundled_path()
    write_site(engine, read_manifest(engine), root / "apps" / "detector", modules)
    return root


@pytest.fixture(scope="module")
def browser():
    """One browser for a module."""
    with chromium() as driver:
        yield driver


@pytest.fixture(scope="module")
def address(demo_site):
    """The site's address, served with the headers that threads need."""
    with served(demo_site) as (base, _):
        yield f"{base}/apps/detector/"


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


@pytest.fixture
def run_js(tmp_path):
    """Run lines of JavaScript in node; `input` holds a JSON value, `read(name)` and `write(name, bytes)` files."""

    def run(imports: str, code: str, value: object) -> object:
        (tmp_path / "input.json").write_text(json.dumps(value))
        script = f"""
        import {{ readFileSync, writeFileSync }} from "node:fs";
        {imports.replace('"./', f'"file://{STATIC}/')}
        const read = (name) => new Uint8Array(readFileSync({json.dumps(str(tmp_path))} + "/" + name));
        const write = (name, bytes) => writeFileSync({json.dumps(str(tmp_path))} + "/" + name, bytes);
        const input = JSON.parse(new TextDecoder().decode(read("input.json")));
        const answer = await (async () => {{ {code} }})();
        console.log(JSON.stringify(answer ?? null));
        """
        command = [node(), "--input-type=module", "-e", script]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run


@pytest.fixture(scope="session")
def data():
    """What the site's script knows of the bundled engine."""
    return site_data(bundled_path(), read_manifest(bundled_path()), "ort/")
