"""Read the files of a data set for the audit: facts and low-level features of each, in threads."""

from __future__ import annotations

import hashlib
import io
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from PIL import Image

from ...runtime.errors import ImageError, UsageError
from ...runtime.manifest import Preprocess
from ...runtime.preprocess import decode, resize_crop
from ...runtime.progress import Progress
from ...runtime.read_ahead import read_ahead
from ..data.balance import balance_bytes
from ..data.samples import Sample, SkipLog
from .file_facts import FileFacts, file_facts
from .lowlevel import blockiness, luminance, spectrum

AHEAD = 64
"""Files read before their features are taken."""


@dataclass(frozen=True)
class Examined:
    """One readable file. jpeg: float64 [79] at native size. spectrum: float64 [32] at the network's input size."""

    sample: Sample
    facts: FileFacts
    jpeg: np.ndarray
    spectrum: np.ndarray


def thin(samples: Sequence[Sample], limit: int) -> list[Sample]:
    """At most `limit` of each generator, split and class, evenly spaced in their order; 0 keeps all.

    Raises:
        UsageError: a negative limit.
    """
    if limit < 0:
        raise UsageError(f"--limit must be 0 (all) or more, got {limit}")
    cells: dict[tuple[str, str, int], list[Sample]] = defaultdict(list)
    for sample in samples:
        cells[sample.generator, sample.split, sample.label].append(sample)
    chosen = []
    for cell in cells.values():
        kept = min(limit or len(cell), len(cell))
        chosen += [cell[i * len(cell) // kept] for i in range(kept)]
    return chosen


def content_rng(content: str, seed: int = 0) -> np.random.Generator:
    """Random, but the same for the same file: `content` is its SHA-256."""
    return np.random.default_rng([seed, int(content[:16], 16)])


def examine_one(sample: Sample, balanced: bool) -> Examined:
    """Read one file; with `balanced`, the file that the format-balanced protocol makes of it.

    Raises:
        ImageError: not a readable image.
    """
    try:
        data = sample.path.read_bytes()
    except OSError as error:
        raise ImageError(f"{sample.path}: {error.strerror}") from None
    try:
        image = decode(data)
    except ImageError as error:
        raise ImageError(f"{sample.path}: {error}") from None
    if balanced:
        data = balance_bytes(image, content_rng(hashlib.sha256(data).hexdigest()))
        image = Image.open(io.BytesIO(data)).convert("RGB")
    facts = file_facts(sample.path, data, image)
    seen = Image.fromarray(resize_crop(image, Preprocess()))
    return Examined(sample, facts, blockiness(luminance(image)), spectrum(luminance(seen)))


def examine(
    samples: Sequence[Sample], skips: SkipLog, *, balanced: bool = False, workers: int = 2, quiet: bool = False
) -> list[Examined]:
    """All readable files in order; the others go into `skips`. Pixels are dropped at once: only features are kept."""
    found = []

    def attempt(sample: Sample) -> Examined | ImageError:
        try:
            return examine_one(sample, balanced)
        except ImageError as error:
            return error

    with (
        ThreadPoolExecutor(workers, thread_name_prefix="audit") as pool,
        Progress("images", len(samples), quiet=quiet) as progress,
    ):
        for sample, read in read_ahead(pool, attempt, samples, AHEAD):
            result = read.result()
            if isinstance(result, ImageError):
                skips.add(sample.path, str(result))
            else:
                found.append(result)
            progress.advance()
    return found
