"""`cinemae make` from rendered images and random ViT-L weights: time and peak memory of each step, as a Markdown table.

    python benchmarks/make.py FOLDER [--images 200] [--fp16] [--backbone vit_large_patch16]

FOLDER receives images, weights and engine; run again, it continues. Random weights say nothing about accuracy. The
times are those of the machine that is said above the table, which should be idle.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import torch
from cinemae.runtime.diagnose.hardware import cpu_name
from cinemae.train.model.mae import MaskedAutoencoder
from cinemae.train.model.presets import preset
from cinemae.train.weights.save import save_backbone
from PIL import Image

SOURCES = 2
TEST_SHARE = 6
"""One image in so many is for the evaluation."""


def render(root: Path, count: int) -> None:
    """`count` JPEGs of 500x375 in a GenImage tree: AI images are smooth ramps, real ones noisy."""
    for number in range(count):
        label, source, seed = number % 2, number // 2 % SOURCES, number // (2 * SOURCES)
        split = "val" if seed % TEST_SHARE == TEST_SHARE - 1 else "train"
        path = root / f"source_{source}" / split / ("nature", "ai")[label] / f"{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        rng = np.random.default_rng(number)
        ramp = np.linspace(0, 200, 500)[None, :, None] * rng.uniform(0.3, 1, 3)
        pixels = ramp + rng.normal(0, 4 if label else 40, (375, 500, 3)) + 20
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(path, quality=90)


def resident_gib(pid: int) -> float:
    """Memory of a process now; 0 once it has ended."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**30
    except (OSError, IndexError):
        return 0.0


def watched(command: list[str], folder: Path) -> list[tuple[str, float, float]]:
    """Run the command; name, minutes and peak GiB of each part, told by the lines that begin it."""
    parts: list[list] = [["look and measure", time.monotonic(), 0.0]]
    with subprocess.Popen(command, cwd=folder, stderr=subprocess.PIPE, text=True) as process:

        def sample() -> None:
            while process.poll() is None:
                parts[-1][2] = max(parts[-1][2], resident_gib(process.pid))
                time.sleep(0.1)

        threading.Thread(target=sample, daemon=True).start()
        for line in process.stderr or ():
            print(line, end="", flush=True)
            head, _, name = line.strip().partition(" ")
            if head.endswith("/6") and " " not in name:
                parts.append([name, time.monotonic(), 0.0])
    if process.returncode:
        sys.exit(process.returncode)
    ends = [part[1] for part in parts[1:]] + [time.monotonic()]
    return [(name, (end - start) / 60, peak) for (name, start, peak), end in zip(parts, ends, strict=True)]


def main() -> None:
    """Make data and weights, run, and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--backbone", default="vit_large_patch16")
    parser.add_argument("--fp16", action="store_true")
    options = parser.parse_args()
    render(options.folder / "data", options.images)
    weights = options.folder / "backbone.safetensors"
    if not weights.exists():
        torch.manual_seed(0)
        save_backbone(MaskedAutoencoder(preset(options.backbone)), weights)
    command = [sys.executable, "-m", "cinemae", "make", "data", "--backbone", weights.name]
    found = watched([*command, *(["--fp16"] if options.fp16 else [])], options.folder)
    print(f"\n{options.images} images, {options.backbone}, {cpu_name()}, {os.cpu_count()} cores, load average "
          f"{os.getloadavg()[2]:.1f}\n\n| step | minutes | peak memory, GiB |\n|---|---:|---:|")
    for name, minutes, peak in found:
        print(f"| {name} | {minutes:.1f} | {peak:.1f} |")


if __name__ == "__main__":
    main()
