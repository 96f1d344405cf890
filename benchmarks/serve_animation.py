"""Processor time that the server spends on one animated GIF, by --frames, beside its first frame as a file.

    python benchmarks/serve_animation.py [--megabytes 3.5] [--rounds 5]

Prints a Markdown table: user and system time of the server's process for one request, the median of the rounds.
"""

from __future__ import annotations

import argparse
import io
import os
import re
import statistics
import subprocess
import sys
from pathlib import Path

import httpx
import numpy as np
from PIL import Image

SIZE = (640, 480)
PER_FRAME = 75_000
"""Bytes of a frame, nearly."""


def gif(size: int) -> tuple[list[Image.Image], bytes]:
    """Grey frames of waves that move, with grain, and the GIF of them, of about `size` bytes."""
    x, y = np.meshgrid(np.arange(SIZE[0]), np.arange(SIZE[1]))
    grain = np.random.default_rng(0).random((SIZE[1], SIZE[0])) < 0.02
    frames = []
    for number in range(round(size / PER_FRAME)):
        waves = (2 + np.sin(x / 40 + number / 9) + np.sin(y / 30 - number / 9)) * 14
        frames.append(Image.fromarray(((waves + 2 * grain) * 4).astype(np.uint8) & 252))
    file = io.BytesIO()
    frames[0].save(file, "GIF", save_all=True, append_images=frames[1:], duration=40, optimize=False)
    return frames, file.getvalue()


def spent_by(pid: int) -> float:
    """Milliseconds of user and system time of a process so far, on Linux (proc_pid_stat(5))."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return 1000 * (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def costs(frames: str, bodies: list[bytes], rounds: int) -> list[float]:
    """Milliseconds of CPU of a request with each body in turn, against a server of its own."""
    command = [sys.executable, "-m", "cinemae", "serve", "--port", "0", "--device", "cpu", "--frames", frames]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stderr is not None
            found = re.search(r"http://\S+?(?=/\s)", process.stderr.readline())
            spent: list[list[float]] = [[] for _ in bodies]
            with httpx.Client(base_url=found[0] if found else "", timeout=300) as client:
                for _ in range(rounds + 1):
                    for body, times in zip(bodies, spent, strict=True):
                        before = spent_by(process.pid)
                        client.post("/v1/detect", content=body).raise_for_status()
                        times.append(spent_by(process.pid) - before)
        finally:
            process.terminate()
    return [statistics.median(times[1:]) for times in spent]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--megabytes", type=float, default=3.5)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    frames, data = gif(int(options.megabytes * 1e6))
    still = io.BytesIO()
    frames[0].save(still, "GIF")
    print(f"GIF of {len(data) / 1e6:.2f} MB: {len(frames)} frames of {SIZE[0]}x{SIZE[1]}\n")
    print("| --frames | GIF, CPU ms | its first frame alone, CPU ms |\n|---|---|---|")
    for asked in ("first", "4", "all"):
        moving, alone = costs(asked, [data, still.getvalue()], options.rounds)
        print(f"| {asked} | {moving:.0f} | {alone:.0f} |", flush=True)


if __name__ == "__main__":
    main()
