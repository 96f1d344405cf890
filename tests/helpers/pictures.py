"""Rendered pictures for the tests of the runtime: no file of anybody's is needed."""

import io
import json
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image


def picture(width: int = 96, height: int = 80, seed: int = 0) -> Image.Image:
    """A smooth coloured ramp with blocks on it, mode RGB; another one for each seed."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width]
    phase = rng.uniform(0, 6, 3)
    waves = [np.sin(x * (i + 2) / width * 3 + y / height * 4 + phase[i]) for i in range(3)]
    pixels = (np.stack(waves, axis=2) * 100 + 128).clip(0, 255).astype(np.uint8)
    blocks = rng.integers(0, 256, (-(-height // 8), -(-width // 8), 3), dtype=np.uint8)
    noise = np.repeat(np.repeat(blocks, 8, axis=0), 8, axis=1)[:height, :width]
    return Image.fromarray(((pixels.astype(int) * 3 + noise) // 4).astype(np.uint8))


def encoded(image: Image.Image, kind: str = "PNG", **options) -> bytes:
    """`image` as the bytes of a file."""
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def folder_of(root: Path, count: int, bad: int = 0) -> Path:
    """`count` small JPEG and PNG files in nested folders, the first `bad` of every block of a hundred not readable."""
    shapes = [encoded(picture(70 + i, 66, i), kind) for i in range(10) for kind in ("JPEG", "PNG")]
    for i in range(count):
        folder = root / f"part{i // 1000:02d}"
        if i % 1000 == 0:
            folder.mkdir(parents=True)
        data = shapes[i % len(shapes)]
        if i % 100 < bad:
            data = (b"", b"no image at all", data[: len(data) // 2])[i % 3]
        (folder / f"img{i:06d}{'.jpg' if i % 2 == 0 else '.png'}").write_bytes(data)
    return root


def five_pictures(folder: Path) -> Path:
    """Five PNG files in a new folder; the fourth is not readable."""
    folder.mkdir()
    for i in range(5):
        (folder / f"{i}.png").write_bytes(encoded(picture(seed=i)))
    (folder / "3.png").write_bytes(b"broken")
    return folder


heeds_sigint = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
"""For `preexec_fn`: a shell's background jobs, and all that they start, ignore SIGINT."""


def json_lines(data: bytes) -> list[dict]:
    """The records in an output of JSON lines."""
    return [json.loads(line) for line in data.splitlines()]


RUN = [sys.executable, "-m", "cinemae", "run"]


def cinemae_run(*arguments, **options) -> subprocess.CompletedProcess:
    """`cinemae run` in a process of its own; output in bytes."""
    return subprocess.run([*RUN, *map(str, arguments)], capture_output=True, timeout=300, **options)
