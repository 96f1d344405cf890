"""Make the pictures of README and docs from an engine, as a real browser shows them; and time a large report.

    python benchmarks/pictures.py --ort node_modules   # report, heatmap and browser site -> benchmarks/pictures/*.png
    python benchmarks/pictures.py                      # without the site, which needs onnxruntime-web from npm
    python benchmarks/pictures.py --stress 5000        # 5,000 records: size, load, sort, filter -> report.json

The images are scikit-learn's two sample photographs (china.jpg, flower.jpg), cut into pieces, and pictures rendered
here.
Needs the `dev` and `cpu` extras, Chromium and chromedriver.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from cinemae.runtime.report.html import ReportWriter
from cinemae.runtime.scan.options import ScanOptions
from cinemae.runtime.scan.scan import scan as score
from cinemae.runtime.scoring.detector import DEFAULT_BATCH, Detector
from cinemae.runtime.scoring.options import ScoringOptions
from cinemae.runtime.scoring.pipeline import decode_and_score
from PIL import Image, ImageDraw, ImageFilter
from PIL.PngImagePlugin import PngInfo

sys.path.append(str(Path(__file__).parents[1] / "tests" / "helpers"))

HERE = Path(__file__).parent / "pictures"
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--hide-scrollbars", "--window-size=1280,1400",
)
LARGEST = 300_000
"""Bytes of a saved picture; the README loads them. Larger ones are scaled down."""


def photographs() -> dict[str, Image.Image]:
    """Pieces of the two sample photographs that come with scikit-learn."""
    from sklearn.datasets import load_sample_images

    samples = load_sample_images()
    found = {}
    for name, pixels in zip(samples.filenames, samples.images, strict=True):
        stem, whole = Path(name).stem, Image.fromarray(pixels)
        found[f"{stem}.jpg"] = whole
        for i, (x, y, side) in enumerate([(0, 40, 300), (170, 0, 427), (330, 120, 300), (80, 130, 290)]):
            found[f"{stem}-{i + 1}.jpg"] = whole.crop((x, y, x + side, y + side))
        found[f"{stem}-grey.jpg"] = whole.convert("L")
        found[f"{stem}-tiny.png"] = whole.crop((200, 100, 400, 300)).resize((56, 56), Image.Resampling.LANCZOS)
    return found


def rendered(seed: int, size: int = 512) -> Image.Image:
    """A picture that no camera took: soft clouds of colour, and shapes with light on them."""
    rng = np.random.default_rng(seed)
    layers = np.zeros((size, size, 3))
    for octave in range(2, 2 + 2 + seed % 5):
        noise = Image.fromarray(rng.integers(0, 256, (2**octave, 2**octave, 3), dtype=np.uint8))
        layers += np.asarray(noise.resize((size, size), Image.Resampling.BICUBIC), float) / 1.7**octave
    layers = (layers - layers.min()) / np.ptp(layers) * 255
    image = Image.fromarray(layers.astype(np.uint8))
    draw = ImageDraw.Draw(image)
    for _ in range(seed % 4 * 2):
        x, y, r = (int(v) for v in rng.integers((0, 0, 30), (size, size, 110)))
        colour = tuple(int(v) for v in rng.integers(40, 255, 3))
        for step in range(r, 0, -2):
            shade = tuple(int(c * (1.25 - 0.9 * step / r)) for c in colour)
            cx, cy = x - (r - step) // 3, y - (r - step) // 3
            draw.ellipse((cx - step, cy - step, cx + step, cy + step), fill=tuple(min(255, c) for c in shade))
    return image.filter(ImageFilter.SMOOTH) if seed % 3 else image


def make_folder(folder: Path) -> None:
    """Images as a desk might receive them, a damaged file among them."""
    for name, image in photographs().items():
        path = folder / "photographs" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        image.save(path, quality=92)
    for seed in range(13):
        path = folder / "rendered" / f"render-{seed + 1:02}.{'png' if seed % 2 else 'jpg'}"
        path.parent.mkdir(parents=True, exist_ok=True)
        rendered(seed).save(path)
    whole = (folder / "photographs" / "flower.jpg").read_bytes()
    add_facts(folder)
    (folder / "photographs" / "flower-cut-off.jpg").write_bytes(whole[: len(whole) // 3])


def add_facts(folder: Path) -> None:
    """Give files what a desk finds in files: camera data, declarations, parameters, Content Credentials.

    All are made up. The photograph that declares itself generated is real, as a false label would be.
    """
    from metadata_files import exif_of, xmp_of
    from signed_images import CREATED, signed

    photos, renders = folder / "photographs", folder / "rendered"
    exif = Image.Exif()
    camera = {"Make": "Example", "Model": "Camera 1", "LensModel": "35 mm", "DateTimeOriginal": "2026:05:01 10:00:00"}
    exif.load(exif_of(camera))
    exif.get_ifd(0x8825).update({1: "N", 2: (48.0, 51.0, 29.6), 3: "E", 4: (2.0, 17.0, 40.2)})
    label = xmp_of({"Iptc4xmpExt:DigitalSourceType": CREATED["digitalSourceType"]})
    for path, fields in ((photos / "flower.jpg", {"exif": exif}), (photos / "china-2.jpg", {"xmp": label})):
        with Image.open(path) as image:
            image.save(path, quality=92, **fields)
    text = PngInfo()
    text.add_text("parameters", "a hill of glass\nSteps: 24, Sampler: DPM++ 2M, CFG scale: 7, Seed: 7, Size: 512x512")
    rendered(1).save(renders / "render-02.png", pnginfo=text)
    made, name = signed(rendered(2)), "render-03.jpg"
    opened = {"action": "c2pa.opened", "parameters": {"ingredientIds": [name]}}
    parent = {"title": name, "label": name, "relationship": "parentOf"}
    edited = signed(made, actions=(opened,), ingredients=[(parent, made)], generator="Test Editor")
    (renders / name).write_bytes(made)
    (renders / "render-03-edited.jpg").write_bytes(edited)
    rendered(2).save(renders / "render-03-stripped.jpg")


def browser(dark: bool = False) -> Any:
    """A headless Chromium."""
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or "chromium"
    for flag in (*FLAGS, f"--user-data-dir={tempfile.mkdtemp()}"):
        options.add_argument(flag)
    if dark:
        options.add_argument("--blink-settings=preferredColorScheme=0")
    return webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver") or "chromedriver"))


def shrink(path: Path, out: Path) -> None:
    """Save a screenshot in 256 colours, scaled down until it is small enough."""
    whole = image = Image.open(path).convert("RGB")
    out.parent.mkdir(parents=True, exist_ok=True)
    image.quantize(256).save(out, optimize=True)
    while out.stat().st_size > LARGEST:
        scale = 0.93 * image.width / whole.width
        image = whole.resize((round(whole.width * scale), round(whole.height * scale)), Image.Resampling.LANCZOS)
        image.quantize(256).save(out, optimize=True)
    print(f"{out} {image.width} x {image.height}, {out.stat().st_size // 1024} KB")


def pictures(engine: Path | None, out: Path, ort: Path | None) -> None:
    """Score the folder, open its report, save what is seen; with `ort`, also the browser site's page."""
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        make_folder(work / "desk")
        here = os.getcwd()
        os.chdir(work)
        scoring = ScoringOptions(engine=engine and here / engine, device="cpu")
        score(ScanOptions(scoring=scoring, inputs=("desk",), out=work / "out.jsonl", report=work / "report.html",
                          overwrite=True, heatmaps=work / "heatmaps", quiet=True))
        os.chdir(here)
        for dark in (False, True):
            driver = browser(dark)
            try:
                driver.get((work / "report.html").as_uri())
                time.sleep(0.5)
                driver.save_screenshot(str(work / "page.png"))
                shrink(work / "page.png", out / f"report-{'dark' if dark else 'light'}.png")
                if dark:
                    driver.execute_script("openDetail(state.shown.findIndex((row) => row.c))")
                    time.sleep(0.5)
                    driver.save_screenshot(str(work / "detail.png"))
                    shrink(work / "detail.png", out / "report-detail.png")
            finally:
                driver.quit()
        if ort is not None:
            import web

            names = ("china.jpg", "flower.jpg", "flower-grey.jpg", "render-02.png", "render-04.png", "china-tiny.png")
            images = [path for name in names for path in (work / "desk").rglob(name)]
            with web.site(ort) as address:
                web.pictures(address, images, out)
        shrink(work / "heatmaps" / "photographs" / "china.jpg.lcas.png", out / "heatmap.png")


def stress(engine: Path | None, out: Path, count: int) -> None:
    """A report of `count` records from real scores, and how long a browser takes with it."""
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        make_folder(work / "desk")
        files = sorted(str(path) for path in (work / "desk").rglob("*.*"))
        with Detector.load(engine, device="cpu") as detector:
            scored = list(decode_and_score(files, detector.prepare, detector.begin, DEFAULT_BATCH))
            page = work / "report.html"
            start = time.perf_counter()
            with ReportWriter(page, detector.manifest, title=f"{count:,} images") as report:
                for i in range(count):
                    item = scored[i % len(scored)]
                    report.add(item.record, item.prepared.image.pixels if item.prepared.image else None)
            writing = time.perf_counter() - start
        driver = browser()
        driver.set_script_timeout(60)
        try:
            driver.get(page.as_uri())
            ready = int(driver.execute_script("return document.documentElement.dataset.ready"))
            found = {
                "records": count, "megabytes": round(page.stat().st_size / 1e6, 1),
                "write_ms_per_record": round(writing / count * 1000, 2), "ready_ms": ready,
                "sort_ms": action(driver, "document.getElementById('sort')", "high", "change"),
                "filter_ms": action(driver, "document.getElementById('text')", "china", "input"),
                "cards_in_page": driver.execute_script("return document.querySelectorAll('.card').length"),
            }
            driver.save_screenshot(str(work / "page.png"))
            shrink(work / "page.png", out / f"report-{count}.png")
        finally:
            driver.quit()
    (out / "report.json").write_text(json.dumps(found, indent=2) + "\n")
    print(json.dumps(found))


def action(driver: Any, element: str, value: str, event: str) -> int:
    """Milliseconds from setting a control to the second frame after it."""
    return round(driver.execute_async_script(
        f"const done = arguments[0], e = {element}, start = performance.now(); e.value = '{value}';"
        f"e.dispatchEvent(new Event('{event}'));"
        "requestAnimationFrame(() => requestAnimationFrame(() => done(performance.now() - start)))"
    ))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--engine", type=Path, help="default: the bundled one")
    parser.add_argument("--out", type=Path, default=HERE)
    parser.add_argument("--ort", type=Path, help="node_modules with onnxruntime-web, for pictures of the site")
    parser.add_argument("--stress", type=int, metavar="N")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    if arguments.stress:
        stress(arguments.engine, arguments.out, arguments.stress)
    else:
        pictures(arguments.engine, arguments.out, arguments.ort)
