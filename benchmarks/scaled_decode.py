"""What `decode: scaled` gains in speed and changes in scores, format by format.

    python benchmarks/scaled_decode.py speed [--rounds 5]
    python benchmarks/scaled_decode.py scores SOURCES [--images 60] [--sides 1024 1600 3000] [--largest]

Prints Markdown tables. `speed` enlarges the bundled samples; both ways of decoding alternate within a round, and the
ratio is taken inside each round. `scores` takes pictures of the folders ai and nature below SOURCES, evenly or the
largest, enlarges them (bicubic; --sides 0: as they are), adds grain of standard deviation 4 at the final size, and
saves the same pixels in three formats.
"""

from __future__ import annotations

import argparse
import io
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
from cinemae.runtime import Detector
from cinemae.runtime.core.manifest import Preprocess
from cinemae.runtime.images.preprocess import load_image
from cinemae.runtime.scan.samples import sample_paths
from cinemae.train.evaluation.intervals import auc_and_variance
from PIL import Image

WAYS = ("full", "scaled")
FORMATS = {
    "JPEG 95": {"format": "JPEG", "quality": 95}, "PNG": {"format": "PNG", "compress_level": 1},
    "WebP 95": {"format": "WEBP", "quality": 95, "method": 1},
}
SIZES = ((1600, 1200), (4000, 3000))


def enlarged(path: Path, size: tuple[int, int], grain: float) -> Image.Image:
    """RGB image of `size`, with grain of a standard deviation that depends on the file's name alone in its values."""
    image = Image.open(path).convert("RGB").resize(size, Image.Resampling.BICUBIC)
    rng = np.random.default_rng(sum(path.name.encode()))
    noise = rng.standard_normal((size[1], size[0], 1), dtype=np.float32) * grain
    return Image.fromarray((np.asarray(image) + noise).clip(0, 255).astype(np.uint8))


def encoded(image: Image.Image, name: str) -> bytes:
    """The bytes of a file of a format in `FORMATS`."""
    file = io.BytesIO()
    image.save(file, **FORMATS[name])  # type: ignore[arg-type]
    return file.getvalue()


def row(*cells: object) -> None:
    """Print a row of a table."""
    print("|", " | ".join(str(cell) for cell in cells), "|", flush=True)


def compare(work: Callable[[str], int], rounds: int, *names: object) -> None:
    """Print CPU milliseconds an image of both ways, and the ratios; `work` handles images and returns their number."""
    costs: list[dict[str, float]] = []
    for number in range(rounds + 1):
        costs.append({})
        for way in WAYS if number % 2 else WAYS[::-1]:
            started = time.process_time()
            images = work(way)
            costs[-1][way] = (time.process_time() - started) / images * 1000
    del costs[0]  # warm-up
    ratios = sorted(one["full"] / one["scaled"] for one in costs)
    full, scaled = (f"{statistics.median(one[way] for one in costs):.1f}" for way in WAYS)
    row(*names, full, scaled, f"{statistics.median(ratios):.2f}", f"{ratios[0]:.2f}", f"{ratios[-1]:.2f}")


def speed(rounds: int, count: int) -> None:
    """Loading in one thread, and folders."""
    preprocess = {way: Preprocess(decode=way) for way in WAYS}
    detectors = {way: Detector.load(decode=way, device="cpu") for way in WAYS}
    row("size", "format", "kB", "", "full, CPU ms", "scaled, CPU ms", "times as fast", "lowest", "highest")
    row(*["---"] * 9)
    with tempfile.TemporaryDirectory() as folder:
        for size in SIZES:
            pictures = [enlarged(path, size, 4) for path in sample_paths()[:count]]
            for name in FORMATS:
                data = [encoded(picture, name) for picture in pictures]
                label = (f"{size[0]}x{size[1]}", name, sum(map(len, data)) // len(data) // 1000)

                def load(way: str, data: list[bytes] = data) -> int:
                    return len([load_image(one, preprocess[way]) for one in data])

                compare(load, rounds, *label, "loading, one thread")
                if name.startswith("JPEG"):
                    paths = [Path(folder) / f"{size[0]}-{number}.jpg" for number in range(len(data))]
                    for path, one in zip(paths, data, strict=True):
                        path.write_bytes(one)

                    def scan(way: str, paths: list[Path] = paths) -> int:
                        return len(list(detectors[way].detect_many(paths * 3)))

                    compare(scan, rounds, *label, "folder")


def pictures(sources: Path, label: int, count: int, largest: bool) -> list[Path]:
    """As many pictures of a class, taken evenly, or those of the longest short sides; 1 is AI."""
    found = sorted(sources.glob(f"**/{('nature', 'ai')[label]}/*"))
    if largest:
        return sorted(found, key=lambda path: -min(Image.open(path).size))[:count]
    return found[:: max(1, len(found) // count)][:count]


def auc(logits: dict[tuple[str, int], list[float]], ai: str, real: str) -> str:
    """AUC where AI images come in one format and real ones in another."""
    return f"{auc_and_variance(np.array(logits[real, 0]), np.array(logits[ai, 1]))[0]:.4f}"


def differences(pairs: Iterable[tuple[float, float]]) -> tuple[str, str, str]:
    """Mean, mean absolute and largest absolute difference."""
    d = np.array([one - other for one, other in pairs])
    return f"{d.mean():+.4f}", f"{np.abs(d).mean():.4f}", f"{np.abs(d).max():.4f}"


def scores(sources: Path, count: int, sides: list[int], largest: bool) -> None:
    """Differences of logits between formats and ways, and AUC where the format goes with the class."""
    detectors = {way: Detector.load(decode=way, device="cpu") for way in WAYS}
    seen: dict[int, dict[str, dict[tuple[str, int], list[float]]]] = {}
    for side in sides:
        logits = seen[side] = {way: {(name, label): [] for name in FORMATS for label in (0, 1)} for way in WAYS}
        for label in (0, 1):
            for path in pictures(sources, label, count, largest):
                size = Image.open(path).size
                scale = side / min(size) if side else 1
                image = enlarged(path, (round(size[0] * scale), round(size[1] * scale)), 4 if side else 0)
                for name in FORMATS:
                    data = encoded(image, name)
                    for way in WAYS:
                        logits[way][name, label].append(detectors[way].detect(data).logit or 0.0)
    row("short side", "scaled minus full", "mean", "mean absolute", "largest", "of AI", "of real")
    row(*["---"] * 7)
    for side, logits in seen.items():
        for name in FORMATS:
            new, old = logits["scaled"], logits["full"]
            ai, real = (list(zip(new[name, label], old[name, label], strict=True)) for label in (1, 0))
            row(side, name, *differences(ai + real), differences(ai)[0], differences(real)[0])
    for way in WAYS:
        print()
        row("short side", f"same picture, {way}", "mean", "mean absolute", "largest", "", "")
        row(*["---"] * 7)
        for side, logits in seen.items():
            for name in ("JPEG 95", "WebP 95"):
                pairs = [
                    pair for label in (0, 1)
                    for pair in zip(logits[way][name, label], logits[way]["PNG", label], strict=True)
                ]
                row(side, f"{name} minus PNG", *differences(pairs), "", "")
    print()
    row("short side", "AI", "real", "AUC full", "AUC scaled")
    row(*["---"] * 5)
    for side, logits in seen.items():
        for one in FORMATS:
            for other in FORMATS:
                row(side, one, other, *(auc(logits[way], one, other) for way in WAYS))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=("speed", "scores"))
    parser.add_argument("sources", type=Path, nargs="?")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--images", type=int, default=60)
    parser.add_argument("--sides", type=int, nargs="+", default=[1024, 1600, 3000])
    parser.add_argument("--largest", action="store_true")
    options = parser.parse_args()
    if options.what == "speed":
        speed(options.rounds, min(options.images, 4))
    else:
        scores(options.sources, options.images, options.sides, options.largest)


if __name__ == "__main__":
    main()
