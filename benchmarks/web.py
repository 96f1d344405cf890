"""Time the browser site beside the Python runtime, on the same images in the same run.

    python benchmarks/web.py FOLDER --ort node_modules [--images 30] [--rounds 3]

Times go from the choice of the files to the last record shown, divided by the images; the engine is loaded before. The
kinds take turns in every round, so that other load on the machine meets all of them. Needs the `dev` and `cpu` extras,
Chromium, chromedriver, and onnxruntime-web from npm. `benchmarks/pictures.py --ort node_modules` takes its pictures.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from cinemae.export.web.site import write_site
from cinemae.runtime import Detector
from cinemae.runtime.engines.file.header import read_manifest
from cinemae.runtime.engines.load import bundled_path
from cinemae.runtime.images.formats import IMAGE_SUFFIXES

sys.path.append(str(Path(__file__).parents[1] / "tests" / "helpers"))
from browser import chromium
from web_site import open_site, score, served

SIZES = {"desktop": (1280, 1100, 1, False), "phone": (390, 844, 2, True)}
WATCH = """
const begin = () => { window.started = performance.now(); }, end = () => { window.ended = performance.now(); };
document.getElementById("files").addEventListener("change", begin, { once: true });
new MutationObserver(end).observe(document.getElementById("count"), { childList: true, subtree: true });
"""


def browser_seconds(driver: Any, address: str, threads: int, images: list[Path]) -> float:
    """Seconds an image in the page with so many WebAssembly threads."""
    state = open_site(driver, f"{address}?device=wasm&threads={threads}")
    assert state["threads"] == str(threads), state
    driver.execute_script(WATCH)
    score(driver, images)
    return driver.execute_script("return window.ended - window.started") / 1000 / len(images)


def runtime_seconds(threads: int, images: list[Path]) -> float:
    """Seconds an image in Python, one at a time."""
    with Detector.load(device="cpu", threads=threads) as detector:
        detector.detect(images[0])
        start = time.perf_counter()
        for image in images:
            detector.detect(image)
        return (time.perf_counter() - start) / len(images)


def timings(address: str, images: list[Path], rounds: int) -> None:
    """Print the table."""
    cpus = os.cpu_count() or 1
    with chromium() as driver:
        kinds: dict[str, Callable[[], float]] = {
            "Python runtime, 1 thread": lambda: runtime_seconds(1, images),
            f"Python runtime, {cpus} threads": lambda: runtime_seconds(cpus, images),
            "browser, WebAssembly, 1 thread": lambda: browser_seconds(driver, address, 1, images),
            f"browser, WebAssembly, {cpus} threads": lambda: browser_seconds(driver, address, cpus, images),
        }
        load = os.getloadavg()[0]
        found: dict[str, list[float]] = {name: [] for name in kinds}
        for _ in range(rounds):
            for name, measured in kinds.items():
                found[name].append(measured())
        version = driver.capabilities["browserVersion"]
    first = found["Python runtime, 1 thread"]
    print(f"Chromium {version}, {cpus} CPUs, {len(images)} images, {rounds} rounds, load average before: {load:.1f}.\n")
    print("| kind | ms an image, median | range | time against Python, 1 thread |\n|---|---:|---:|---:|")
    for name, seconds in found.items():
        ratio = statistics.median(mine / other for mine, other in zip(seconds, first, strict=True))
        span = f"{1000 * min(seconds):.0f} to {1000 * max(seconds):.0f}"
        print(f"| {name} | {1000 * statistics.median(seconds):.0f} | {span} | {ratio:.2f} |")


@contextlib.contextmanager
def site(ort: Path) -> Iterator[str]:
    """The address of the bundled engine's site, served."""
    engine = bundled_path()
    with tempfile.TemporaryDirectory() as folder:
        write_site(engine, read_manifest(engine), Path(folder) / "site", ort)
        with served(Path(folder) / "site") as (base, _):
            yield f"{base}/"


def pictures(address: str, images: Sequence[Path], out: Path) -> None:
    """The page on a desktop and on a phone, light and dark, as `out`/web-*.png."""
    from pictures import shrink

    for dark in (False, True):
        with chromium(dark=dark) as driver:
            for name, (width, height, ratio, mobile) in SIZES.items():
                metrics = {"width": width, "height": height, "deviceScaleFactor": ratio, "mobile": mobile}
                driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
                open_site(driver, address)
                score(driver, images)
                if mobile:
                    driver.execute_script("document.getElementById('legend').scrollIntoView()")
                time.sleep(1)
                saved = out / f"web-{name}-{'dark' if dark else 'light'}.png"
                driver.save_screenshot(str(saved))
                shrink(saved, saved)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--ort", type=Path, required=True)
    parser.add_argument("--images", type=int, default=30)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with site(options.ort) as address:
        paths = sorted(path for path in options.folder.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES)
        timings(address, paths[: options.images], options.rounds)


if __name__ == "__main__":
    main()
