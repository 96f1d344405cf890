"""`decode: scaled` against `decode: full` with one engine: speed, and what it does to the scores.

    python benchmarks/scaled_decode.py speed [--images 12] [--rounds 5]
    python benchmarks/scaled_decode.py scores DATA [--images 240] [--files FOLDER]

`speed` renders photograph-like JPEGs of 1600 x 1200 and 4000 x 3000, plain and with grain, and measures, in alternating
rounds, loading in one thread and the whole folder (listing, hashing, decoding in threads, inference, JSON lines on
disk).

`scores` needs large images with labels. It makes them from the images of DATA (a layout of the training data, split
val), as many AI as real ones: enlarged to 1024, 2048 and 4096 pixels on the short side, so that a half, a quarter and
an eighth are decoded, once plainly (smooth, as from an upscaler), once with grain at the final size (standard deviation
8 of 255, as from a sensor, which is what scaled decoding averages away). All are saved as JPEG of quality 90. --files
adds the JPEGs of a folder as they are.
"""

from __future__ import annotations

import argparse
import io
import itertools
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from cinemae.runtime import Detector
from cinemae.runtime.core.environment import usable_cpus
from cinemae.runtime.core.manifest import Preprocess
from cinemae.runtime.diagnose.bench import synthetic_jpeg
from cinemae.runtime.images.preprocess import load_image
from cinemae.runtime.scan.inputs import Inputs
from cinemae.runtime.scan.writers import file_writer
from cinemae.runtime.scoring.options import ScoringOptions
from cinemae.train.data.sample import Sample
from cinemae.train.data.samples import read_samples
from PIL import Image
from sklearn.metrics import roc_auc_score

SIZES = ((1600, 1200), (4000, 3000))
SHORT_SIDES = (1024, 2048, 4096)
KINDS = {"plain": 0, "with grain": 8}
QUALITY = 90
MODES = ("full", "scaled")
MIN_SHRUNK = 2 * 2 * Preprocess().resize_short


def as_jpeg(image: Image.Image, size: tuple[int, int], grain: float = 0, seed: int = 0) -> bytes:
    """`image` enlarged to `size`, with noise of standard deviation `grain`, as JPEG."""
    large = image.convert("RGB").resize(size, Image.Resampling.BICUBIC)
    if grain:
        rng = np.random.default_rng(seed)
        noise = (rng.standard_normal((size[1], size[0], 1), np.float32) * grain).round().astype(np.int16)
        large = Image.fromarray((np.asarray(large, np.int16) + noise).clip(0, 255).astype(np.uint8))
    buffer = io.BytesIO()
    large.save(buffer, "JPEG", quality=QUALITY)
    return buffer.getvalue()


def row(*cells: object) -> None:
    """Print a row of a Markdown table."""
    print("|", " | ".join(map(str, cells)), "|", flush=True)


def rate(work: Callable[[], object], images: int) -> float:
    """Images a second."""
    start = time.perf_counter()
    work()
    return images / (time.perf_counter() - start)


def load_all(paths: Sequence[str], detector: Detector) -> None:
    """Load every file in this thread, as the detector does."""
    for path in paths:
        load_image(path, detector.manifest.preprocess)


def score_folder(folder: Path, detector: Detector) -> None:
    """What `cinemae run` does with a folder."""
    with tempfile.TemporaryDirectory() as scratch, file_writer(Path(scratch) / "records.jsonl", "jsonl") as writer:
        for record in detector.detect_many(Inputs([str(folder)])):
            writer.write(record)
        writer.finish()


def both_ways(detector: Detector) -> dict[str, Detector]:
    """Detectors of one engine, by how they decode."""
    return {mode: Detector(detector.wait(), detector.manifest, ScoringOptions(decode=mode)) for mode in MODES}


def speed(detector: Detector, images: int, rounds: int) -> None:
    """Measure loading and the whole folder, and print a table."""
    detectors = both_ways(detector)
    print(f"{detector.manifest.label}, {usable_cpus()} CPUs, {images} files a size, {rounds} rounds, medians\n")
    row("size", "kB a file", "", "full, images/s", "scaled, images/s", "scaled over full", "lowest", "highest")
    row(*["---"] * 8)
    for size, (kind, grain) in itertools.product(SIZES, KINDS.items()):
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch)
            for i in range(images):
                image = Image.open(io.BytesIO(synthetic_jpeg(i)))
                (folder / f"{i:03}.jpg").write_bytes(as_jpeg(image, size, grain, i))
            paths = [item.name for item in Inputs([scratch])]
            kilobytes = round(statistics.mean(Path(path).stat().st_size for path in paths) / 1000)
            works: dict[str, Callable[[Detector], None]] = {
                "loading, one thread": partial(load_all, paths),
                "folder": partial(score_folder, folder),
            }
            for name, work in works.items():
                found = [
                    [rate(partial(work, detectors[mode]), images) for mode in MODES] for _ in range(rounds)
                ]
                full, scaled = (statistics.median(column) for column in zip(*found, strict=True))
                ratios = sorted(fast / slow for slow, fast in found)
                figures = (full, scaled, statistics.median(ratios), ratios[0], ratios[-1])
                row(f"{size[0]}x{size[1]}, {kind}", kilobytes, name, *(f"{figure:.2f}" for figure in figures))


def line(name: str, detector: Detector, files: Iterable[bytes], labels: Sequence[int] | None) -> None:
    """Score `files` in both ways and print a row."""
    detectors = both_ways(detector).values()
    logits, verdicts, pixels = [], 0, []
    for data in files:
        prepared = [one.prepare(data) for one in detectors]
        records = detector.score(prepared)
        logits.append([record.logit for record in records])
        verdicts += records[0].verdict != records[1].verdict
        full, scaled = (item.image.pixels.astype(int) for item in prepared if item.image is not None)
        pixels.append(np.abs(full - scaled).mean())
    scores = np.array(logits)
    change = scores[:, 1] - scores[:, 0]
    aucs = ["–", "–"] if labels is None else [f"{roc_auc_score(labels, scores[:, i]):.4f}" for i in range(2)]
    row(name, len(scores), f"{np.mean(pixels):.2f}", f"{np.abs(change).mean():.4f}", f"{change.mean():+.4f}",
        f"{np.abs(change).max():.4f}", f"{scores[:, 0].std():.2f}", verdicts, *aucs)


def balanced(samples: list[Sample], images: int) -> list[Sample]:
    """As many AI as real images, spread evenly over the list."""
    halves = ([sample for sample in samples if sample.label == label] for label in (0, 1))
    return [half[i * len(half) // (images // 2)] for half in halves for i in range(images // 2)]


def scores(detector: Detector, data: Path, images: int, files: Path | None) -> None:
    """Measure what scaled decoding changes, and print a table."""
    chosen = balanced(read_samples(data, split="val"), images)
    labels = [sample.label for sample in chosen]
    print(f"{detector.manifest.label}; differences are scaled minus full\n")
    row("images", "number", "pixels, mean difference", "logit, mean absolute", "mean", "largest",
        "deviation of the logits", "other verdicts", "AUC full", "AUC scaled")
    row(*["---"] * 10)
    for short, (kind, grain) in itertools.product(SHORT_SIDES, KINDS.items()):
        made = (as_jpeg(Image.open(sample.path), (short, short), grain, i) for i, sample in enumerate(chosen))
        line(f"enlarged to {short}, {kind}", detector, made, labels)
    if files is not None:
        paths = [path for path in sorted(files.rglob("*")) if path.suffix.lower() in (".jpg", ".jpeg")]
        large = [path for path in paths if min(Image.open(path).size) >= MIN_SHRUNK]
        line("files as they are", detector, (path.read_bytes() for path in large), None)


def main() -> None:
    """Parse and measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("speed", "scores"))
    parser.add_argument("data", type=Path, nargs="?")
    parser.add_argument("--engine", type=Path, help="default: the bundled engine")
    parser.add_argument("--images", type=int)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--files", type=Path, help="scores: a folder of large JPEGs")
    options = parser.parse_args()
    if options.what == "scores" and options.data is None:
        parser.error("scores needs DATA")
    with Detector.load(options.engine, device="cpu") as detector:
        if options.what == "speed":
            speed(detector, options.images or 12, options.rounds)
        else:
            scores(detector, options.data, options.images or 240, options.files)


if __name__ == "__main__":
    main()
