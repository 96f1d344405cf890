"""Folder throughput against the engine alone: what decoding, batching and writing records cost on top of inference.

    python benchmarks/folder_throughput.py ENGINE FOLDER [--images 200] [--rounds 5] [--batch-size 8]

Prints a Markdown table. In each round the engine alone (batches decoded beforehand), decoding alone, and the whole
pipeline (listing, hashing, decoding, inference, JSON lines on disk) run one after the other on the same files, so that
other load on the machine meets all three. The ratio is taken inside each round. CPU time an image is shown as well:
where the engine alone keeps every core busy, its ratio is what the folder would reach on a machine without other load.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from cinemae.runtime import Detector
from cinemae.runtime.core.environment import usable_cpus
from cinemae.runtime.scan.inputs import Inputs
from cinemae.runtime.scan.writers import file_writer


def measure(work: Callable[[], None], images: int) -> tuple[float, float]:
    """Images a second, and CPU milliseconds of this process an image."""
    start, cpu = time.perf_counter(), time.process_time()
    work()
    return images / (time.perf_counter() - start), (time.process_time() - cpu) / images * 1000


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("engine", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--threads", type=int, default=None)
    parser.add_argument("--device", default="auto")
    options = parser.parse_args()
    paths = [item.name for item in itertools.islice(Inputs([str(options.folder)]), options.images)]
    with Detector.load(options.engine, device=options.device, threads=options.threads) as detector:
        engine = detector.wait()
        prepared = [item for item in map(detector.prepare, paths) if item.image is not None]
        pixels = np.stack([item.image.pixels for item in prepared if item.image is not None])
        batches = [pixels[i : i + options.batch_size] for i in range(0, len(pixels), options.batch_size)]

        def alone() -> None:
            for batch in batches:
                engine.infer(batch)

        def decoding() -> None:
            for path in paths:
                detector.prepare(path)

        def folder() -> None:
            with tempfile.TemporaryDirectory() as scratch, file_writer(Path(scratch) / "r.jsonl", "jsonl") as writer:
                for record in detector.detect_many(paths, options.batch_size):
                    writer.write(record)
                writer.finish()

        folder()
        rounds = [(measure(alone, len(pixels)), measure(decoding, len(paths)), measure(folder, len(paths)))
                  for _ in range(options.rounds)]
    ratios = sorted(whole[0] / single[0] for single, _, whole in rounds)
    cpu = statistics.median(single[1] / whole[1] for single, _, whole in rounds)
    print(f"{detector.manifest.name}, {len(paths)} files, batch {options.batch_size}, {engine.provider}, ", end="")
    print(f"{usable_cpus()} decoding threads, {options.rounds} rounds\n")
    print("| | images/s, median | lowest | highest | CPU ms an image, median |\n|---|---|---|---|---|")
    names = ("engine alone", "decoding alone, one thread", "folder")
    for name, values in zip(names, zip(*rounds, strict=True), strict=True):
        speeds, times = zip(*values, strict=True)
        print(f"| {name} | {statistics.median(speeds):.1f} | {min(speeds):.1f} | {max(speeds):.1f} ", end="")
        print(f"| {statistics.median(times):.1f} |")
    print(f"\nFolder over engine alone, images/s: median {statistics.median(ratios):.3f}, ", end="")
    print(f"{ratios[0]:.3f} to {ratios[-1]:.3f}. CPU time, engine alone over folder: median {cpu:.3f}.")


if __name__ == "__main__":
    main()
