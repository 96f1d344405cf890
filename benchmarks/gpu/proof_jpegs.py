"""The photographs of stage `folder` of `prove.py`, rendered."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import numpy as np


def write_jpegs(folder: Path, size: tuple[int, int], count: int) -> dict[str, Any]:
    """Synthetic photographs: smooth noise with detail; files that are there stay, and each is written whole."""
    from PIL import Image

    folder.mkdir(parents=True, exist_ok=True)
    start = time.monotonic()
    for index in range(count):
        path = folder / f"{index:05d}.jpg"
        if path.exists():
            continue
        rng = np.random.default_rng(index)
        coarse = Image.fromarray(rng.integers(0, 256, (9, 12, 3), dtype=np.uint8)).resize(size)
        grain = rng.integers(-12, 13, (size[1], size[0], 1), dtype=np.int16)
        pixels = np.clip(np.asarray(coarse, np.int16) + grain, 0, 255).astype(np.uint8)
        scratch = path.with_suffix(".part")
        Image.fromarray(pixels).save(scratch, "JPEG", quality=90)
        os.replace(scratch, path)
    return {"files": count, "s": round(time.monotonic() - start, 1)}
