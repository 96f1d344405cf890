"""How much of the time of scoring a file, engine left out, the interpreter's lock (GIL) is held, so where threads end.

    python benchmarks/gil_share.py [--images 64] [--seconds 1.0]

While one step runs over and over in the main thread, a second thread reads the lock's flag some 10^9 times without ever
taking the lock: numpy releases it while it sums an array, and the array is one int with a stride of zero. The share of
ones is the share of time in which the lock was held. The machine must be idle and have two CPUs. No number of threads
scores more files a second than 1 / (seconds that the lock is held a file).

Then the whole pipeline with an engine that answers at once: images a second with one and two threads, with two threads
that decode in a process each (`cinemae-run --processes`), and with two processes that each run it with one thread.
"""

from __future__ import annotations

import argparse
import ctypes
import io
import itertools
import multiprocessing
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from cinemae.runtime import Detector
from cinemae.runtime.core.files import stream_sha256
from cinemae.runtime.diagnose.bench import synthetic_jpeg
from cinemae.runtime.engines.base import EngineOutput
from cinemae.runtime.engines.load import read_engine_manifest
from cinemae.runtime.evidence.collect import collect
from cinemae.runtime.images.decode import decoded, open_image_file
from cinemae.runtime.images.preprocess import resize_crop
from cinemae.runtime.scan.inputs import Inputs
from cinemae.runtime.scan.resume import named
from cinemae.runtime.scan.writers import file_writer, stdout_writer
from cinemae.runtime.scoring.decode_processes import DecodeProcesses
from cinemae.runtime.scoring.pipeline import decode_and_score
from PIL import Image

SIZES = ((500, 375), (1600, 1200), (4000, 3000))
SAMPLES = 100_000_000
BATCH = 32
_INTERVAL = 4321  # microseconds, to find the lock by
_SEARCHED = 1 << 18


def lock_flag() -> np.ndarray:
    """int32 [1], 1 while a thread holds the lock: `_gil_runtime_state.locked` of CPython.

    The struct (pycore_gil.h) begins with the switch interval, a number that is set to one that is easily found.
    """
    before = sys.getswitchinterval()
    sys.setswitchinterval(_INTERVAL / 1e6)
    start = ctypes.addressof(ctypes.c_char.in_dll(ctypes.pythonapi, "_PyRuntime"))
    words = np.ctypeslib.as_array((ctypes.c_uint64 * (_SEARCHED // 8)).from_address(start))
    (place,) = np.flatnonzero(words == _INTERVAL)
    sys.setswitchinterval(before)
    return np.ctypeslib.as_array((ctypes.c_int32 * 1).from_address(start + 8 * int(place) + 16))


def held(step: Callable[[], object], seconds: float, flag: np.ndarray) -> tuple[float, float]:
    """Seconds that one call of `step` takes, and for how many of them the lock is held."""
    view = np.lib.stride_tricks.as_strided(flag, (SAMPLES,), (0,))
    ones, total, start, calls = 0, 0, time.perf_counter(), 0
    while total == 0 or time.perf_counter() - start < seconds:
        sums: list[int] = []
        sampler = threading.Thread(target=lambda sums=sums: sums.append(int(view.sum(dtype=np.int32))))
        sampler.start()
        while not sums:
            step()
            calls += 1
        sampler.join()
        ones, total = ones + sums[0], total + SAMPLES
    each = (time.perf_counter() - start) / calls
    return each, each * ones / total


class Instant:
    """An engine that answers at once, always the same."""

    def __init__(self) -> None:
        self.manifest = read_engine_manifest()
        self.path, self.provider = Path("instant"), "none"
        self.notes: tuple[str, ...] = ()

    def infer(self, images: np.ndarray) -> EngineOutput:
        batch, patches = len(images), self.manifest.backbone.config.n_patches
        return EngineOutput(*(np.full((batch, *shape), 0.01, np.float32) for shape in ((), (3,), (patches,))))

    def close(self) -> None:
        pass


def render(folder: Path, size: tuple[int, int], images: int) -> None:
    """JPEGs of quality 90 with a camera's EXIF fields, as photographs have them."""
    exif = Image.Exif()
    exif[0x010F], exif[0x0110], exif[0x0131] = "Canon", "Canon EOS 5D", "Digital Photo Professional"
    for seed in range(min(images, 8)):
        picture = Image.open(io.BytesIO(synthetic_jpeg(seed))).resize(size, Image.Resampling.BICUBIC)
        for i in range(seed, images, 8):
            picture.save(folder / f"{i:05}.jpg", "JPEG", quality=90, exif=exif)


def steps(folder: Path, detector: Detector) -> dict[str, Callable[[], object]]:
    """The work on one file by step; each call takes the next file."""
    paths = [item.path for item in Inputs([str(folder)])]
    files = itertools.cycle(paths)
    preprocess, engine = detector.manifest.preprocess, detector.wait()
    with decoded(paths[0]) as one:
        picture = one.image
    prepared = detector.prepare(paths[0])
    output = engine.infer(np.stack(prepared.crops))
    nowhere = open(os.devnull, "wb")  # noqa: SIM115  (open as long as the steps run)
    writer = stdout_writer(nowhere, "jsonl")

    def opened(work: Callable[..., object]) -> object:
        with open_image_file(next(files), "") as file:
            return work(file)

    def decode() -> None:
        with decoded(next(files)):
            pass

    return {
        "open and hash": lambda: opened(stream_sha256),
        "decode": decode,
        "resize and crop": lambda: resize_crop(picture, preprocess),
        "evidence": lambda: opened(lambda file: collect(file, Image.open(file))),
        "all of these: `Detector.prepare`": lambda: detector.prepare(next(files)),
        "record and JSON line": lambda: writer.write(detector._records([prepared], output)[0]),
    }


def score(folder: str, workers: int, copies: int = 1) -> int:
    """What cinemae-run does with a folder, `copies` times; returns the number of records."""
    detector, count = Detector(Instant(), read_engine_manifest()), 0
    paths = (item.path for _ in range(copies) for item in Inputs([folder]))
    with tempfile.TemporaryDirectory() as scratch, file_writer(Path(scratch) / "records.jsonl", "jsonl") as writer:
        for record in detector.detect_many(paths, BATCH, workers):
            writer.write(record)
            count += 1
    return count


def timed(job: tuple[str, int, int]) -> tuple[float, float, int]:
    """Start, end and images of a `score` in a process that is warm."""
    score(job[0], job[1])
    start = time.time()
    count = score(*job)
    return start, time.time(), count


def decoding_processes_rate(folder: str, workers: int, copies: int) -> float:
    """Images a second of `cinemae-run --processes`, once its processes have started."""
    detector = Detector(Instant(), read_engine_manifest())
    rows = detector.rows(BATCH, workers, shared=True)
    with tempfile.TemporaryDirectory() as scratch, DecodeProcesses(detector.preparer, rows, workers) as decoders:
        for times in (1, copies):
            start, count = time.perf_counter(), 0
            items = map(named, (item for _ in range(times) for item in Inputs([folder])))
            with file_writer(Path(scratch) / f"{times}.jsonl", "jsonl") as writer:
                for scored in decode_and_score(items, decoders.prepare, detector.begin, BATCH, workers, rows):
                    writer.write(scored.record)
                    count += 1
        return count / (time.perf_counter() - start)


def rates(folder: Path, seconds: float, files: int, each: float) -> list[float]:
    """Images a second with one thread, two threads, two decoding processes and two whole processes."""
    copies = max(2, round(2 * seconds / (each * files)))
    found = []
    for workers in (1, 2):
        start, end, count = timed((str(folder), workers, copies))
        found.append(count / (end - start))
    found.append(decoding_processes_rate(str(folder), 2, copies))
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        runs = pool.map(timed, [(str(folder), 1, copies)] * 2, chunksize=1)
    spans = max(end for _, end, _ in runs) - min(start for start, _, _ in runs)
    return [*found, sum(count for *_, count in runs) / spans]


def row(*cells: object) -> None:
    """Print a row of a Markdown table."""
    print("|", " | ".join(map(str, cells)), "|", flush=True)


def show(size: str, step: str, each: float, locked: float) -> None:
    """Print the row of a step; in few samples the lock may never be seen held."""
    most = f"{1 / locked:,.0f}" if locked else "none seen"
    row(size, step, f"{1000 * each:.3f}", f"{1000 * locked:.3f}", f"{locked / each:.2f}", most)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=1.0, help="for each step")
    options = parser.parse_args(arguments)
    flag = lock_flag()
    busy, idle = (held(step, 0.2, flag) for step in (lambda: sum(range(100_000)), lambda: time.sleep(0.01)))
    if busy[1] < 0.95 * busy[0] or idle[1] > 0.05 * idle[0]:
        sys.exit("the flag does not follow the lock: another Python than CPython 3.10 or 3.11, or a busy machine")
    detector = Detector(Instant(), read_engine_manifest())
    row("size", "step", "ms a file", "of these the lock is held, ms", "share", "files/s at most")
    row(*["---"] * 6)
    speeds: dict[str, list[float]] = {}
    for width, height in SIZES:
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch)
            render(folder, (width, height), options.images)
            for name, step in steps(folder, detector).items():
                each, locked = held(step, options.seconds, flag)
                show(f"{width}x{height}", name, each, locked)
            each, locked = (t / options.images for t in held(partial(score, scratch, 1), options.seconds, flag))
            show(f"{width}x{height}", "**whole pipeline**", each, locked)
            speeds[f"{width}x{height}"] = rates(folder, options.seconds, options.images, each)
    print()
    row("size", "one thread, images/s", "two threads", "`--processes --workers 2`", "two whole processes")
    row(*["---"] * 5)
    for name, found in speeds.items():
        row(name, *(f"{value:,.0f}" for value in found))


if __name__ == "__main__":
    main()
