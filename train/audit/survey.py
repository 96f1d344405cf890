"""Read the files of a data set for the audit: properties and low-level features of each, in threads."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np
from PIL import Image

from ...runtime.core.errors import ImageError
from ...runtime.core.manifest import Preprocess
from ...runtime.core.progress import Progress
from ...runtime.core.read_ahead import read_ahead
from ...runtime.images.decode import decode
from ...runtime.images.preprocess import resize_crop
from ..data.sample import Sample
from ..data.samples import reading_order
from ..data.skipped import Skipped, skip
from ..data.transforms import balanced_bytes, content_rng
from .file_facts import FileFacts, file_facts
from .lowlevel import blockiness, luminance, spectrum

AHEAD = 64
"""Files read ahead of their features."""


@dataclass(frozen=True)
class SurveyedFile:
    """A readable file.

    Attributes:
        sample: path, label, generator and split.
        facts: properties of the file.
        jpeg: float64 [79], traces of JPEG's 8x8 grid at native size (`lowlevel.blockiness`).
        spectrum: float64 [32], radial power spectrum at the network's input size (`lowlevel.spectrum`).
    """

    sample: Sample
    facts: FileFacts
    jpeg: np.ndarray
    spectrum: np.ndarray


def survey_file(sample: Sample, balanced: bool) -> SurveyedFile:
    """Read one file and compute its features.

    Args:
        sample: the file.
        balanced: look at the file that the format-balanced protocol makes of it.

    Raises:
        ImageError: the file is not a readable image.
    """
    data = sample.read()
    try:
        image = decode(data)
    except ImageError as error:
        raise ImageError(f"{sample.path}: {error}") from None
    if balanced:
        data = balanced_bytes(image, content_rng(hashlib.sha256(data).hexdigest()))
        image = Image.open(io.BytesIO(data)).convert("RGB")
    facts = file_facts(sample.path, data, image)
    seen = Image.fromarray(resize_crop(image, Preprocess()))
    return SurveyedFile(sample, facts, blockiness(luminance(image)), spectrum(luminance(seen)))


def survey(
    samples: Sequence[Sample], skipped: Skipped, *, balanced: bool = False, workers: int = 2, quiet: bool = False
) -> list[SurveyedFile]:
    """Read many files; their pixels are dropped once the features are computed.

    Args:
        samples: the files.
        skipped: receives the unreadable files.
        balanced: look at the files that the format-balanced protocol makes of them.
        workers: threads.
        quiet: show no progress.

    Returns:
        The readable files, in reading order.
    """
    files = []
    with (
        ThreadPoolExecutor(workers, thread_name_prefix="audit") as pool,
        Progress("images", len(samples), quiet=quiet) as progress,
    ):
        for sample, read in read_ahead(pool, partial(survey_file, balanced=balanced), reading_order(samples), AHEAD):
            try:
                files.append(read.result())
            except ImageError as error:
                skip(skipped, sample.path, str(error))
            progress.advance()
    return files
