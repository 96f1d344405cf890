"""A browser site under test: npm's packages, a static server that records what is asked, a page driven by selenium."""

from __future__ import annotations

import contextlib
import http.server
import json
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cinemae.export.web import onnxruntime_web

AXE = "axe-core@4.14.1"
ISOLATION = {"Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Embedder-Policy": "require-corp"}
READY_SECONDS = 60
JPEG_LOGIT = 1e-3
"""Chromium's JPEG decoder gives Pillow's pixels: see benchmarks/web.md. This is room for another build of either."""
SAME = 1e-4
"""Logits of equal pixels: the same kernels, compiled for another machine."""


def npm_modules(folder: Path) -> Path:
    """`folder`/node_modules with the pinned packages, installed once; skips where npm or the registry is missing."""
    from filelock import FileLock

    if not shutil.which("npm"):
        pytest.skip("needs npm")
    with FileLock(folder / "lock"):
        if not (folder / "node_modules" / "axe-core" / "axe.min.js").is_file():
            packages = [f"onnxruntime-web@{onnxruntime_web.VERSION}", AXE]
            command = ["npm", "install", "--prefix", folder, "--no-audit", "--no-fund", "--ignore-scripts", *packages]
            done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
            if done.returncode:
                pytest.skip(f"npm cannot install {' '.join(packages)}: {done.stderr.strip()[-300:]}")
    return folder / "node_modules"


def node() -> str:
    """Path of node; skips where there is none."""
    found = shutil.which("node")
    if not found:
        pytest.skip("needs node")
    return found


class Recorder(http.server.ThreadingHTTPServer):
    """A static server; `asked` lists (method, path) of every request."""

    daemon_threads = True

    def __init__(self, folder: Path, headers: dict[str, str]) -> None:
        asked = self.asked = []

        class Handler(http.server.SimpleHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            def __init__(self, *arguments: Any) -> None:
                super().__init__(*arguments, directory=str(folder))

            def parse_request(self) -> bool:
                parsed = super().parse_request()
                if parsed:
                    asked.append((self.command, self.path))
                return parsed

            def end_headers(self) -> None:
                for name, value in headers.items():
                    self.send_header(name, value)
                super().end_headers()

            def copyfile(self, *arguments: Any) -> None:
                with contextlib.suppress(ConnectionError):  # a page that is left does not wait for its files
                    super().copyfile(*arguments)

            def log_message(self, *arguments: Any) -> None:
                pass

        super().__init__(("127.0.0.1", 0), Handler)


@contextlib.contextmanager
def served(folder: Path, isolated: bool = True, more: dict[str, str] | None = None) -> Iterator[tuple[str, Recorder]]:
    """Serve `folder`; yields (base address, server). isolated: with the headers that threads need. more: others."""
    server = Recorder(folder, {**(ISOLATION if isolated else {}), **(more or {})})
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", server
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)


def wait(driver: Any, script: str, seconds: float = READY_SECONDS) -> Any:
    """The first true value of `script` in the page."""
    from selenium.webdriver.support.ui import WebDriverWait

    return WebDriverWait(driver, seconds, poll_frequency=0.1).until(lambda d: d.execute_script(f"return {script}"))


def open_site(driver: Any, address: str) -> dict[str, str]:
    """Load the page and wait for its engine; what the page says it runs on."""
    driver.get(address)
    state = wait(driver, "document.documentElement.dataset.ready ? {...document.documentElement.dataset} "
                 ": document.querySelector('#loading[role=alert]')?.textContent.trim()")
    assert isinstance(state, dict), state
    return state


def score(driver: Any, files: list[Path], field: str = "files") -> list[dict[str, Any]]:
    """Choose files and return their records, as the page's own "Save records" writes them."""
    driver.find_element("id", field).send_keys("\n".join(map(str, files)))
    wait(driver, "/^(\\d+) of \\1 done/.test(document.getElementById('count').textContent)", 300)
    return saved(driver, "save")


def saved(driver: Any, button: str) -> Any:
    """What a save button writes: parsed lines of JSON, or the text of the CSV."""
    script = """
    const [button, done] = arguments, made = URL.createObjectURL;
    URL.createObjectURL = (blob) => { URL.createObjectURL = made; blob.text().then(done); return "#"; };
    document.getElementById(button).click();
    """
    text = driver.execute_async_script(script, button)
    if button != "save":
        return text
    return [json.loads(line) for line in text.splitlines()]


def axe_findings(driver: Any, modules: Path) -> list[tuple[str, list[str]]]:
    """(rule, HTML of the elements) of everything that axe-core finds in the page."""
    driver.execute_script((modules / "axe-core" / "axe.min.js").read_text(encoding="utf-8"))
    script = "const done = arguments[0]; axe.run().then(({ violations }) => done(violations))"
    found = driver.execute_async_script(script)
    return [(rule["id"], [node["html"] for node in rule["nodes"]]) for rule in found]


def agree(found: dict[str, Any], wanted: Any, tolerance: float) -> None:
    """A record of the page against the runtime's."""
    near = ("path", "probability", "likelihood_ratio", "logit", "stats")
    other = {"evidence": [], **{name: found[name] for name in near}}
    assert found == {**wanted.to_dict(), **other}
    assert found["logit"] == pytest.approx(wanted.logit, abs=tolerance)
    assert found["probability"] == pytest.approx(wanted.probability, abs=tolerance)
    ratio, other = found["likelihood_ratio"], wanted.to_dict()["likelihood_ratio"]
    assert (ratio is None) == (other is None)
    if ratio:
        assert ratio["value"] == pytest.approx(other["value"], rel=10 * tolerance)
        assert ratio["support"] == other["support"]
