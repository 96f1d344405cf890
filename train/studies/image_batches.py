"""Batches of decoded images for the studies that train or run the network itself; memory holds two ahead."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor

from ...runtime.core.errors import ImageError
from ...runtime.core.read_ahead import read_ahead
from ...runtime.images.preprocess import load_image
from ..data.sample import Sample
from ..model.lcas import normalise
from .experiment import Experiment

AHEAD = 2


def image_batches(
    experiment: Experiment, samples: Sequence[Sample], batch_size: int | None = None
) -> Iterator[tuple[np.ndarray, Tensor]]:
    """Decode images in order; unreadable files are left out (`Experiment.skip`).

    Yields:
        Positions in `samples`, int64 [b], and pixels, uint8 [b, S, S, 3].
    """
    size, preprocess = batch_size or experiment.batch_size, experiment.cache.spec.preprocess

    def read(sample: Sample) -> np.ndarray | ImageError:
        try:
            return load_image(sample.read(), preprocess, name=sample.path).pixels
        except ImageError as error:
            return error

    def read_many(start: int) -> list[np.ndarray | ImageError]:
        return [read(sample) for sample in samples[start : start + size]]

    starts = range(0, len(samples), size)
    with ThreadPoolExecutor(experiment.workers, thread_name_prefix="decode") as pool:
        for start, decoded in read_ahead(pool, read_many, starts, AHEAD + 1):
            good = []
            for position, pixels in enumerate(decoded.result(), start):
                if isinstance(pixels, ImageError):
                    experiment.skip(samples[position].path, pixels)
                else:
                    good.append((position, pixels))
            if good:
                yield np.array([position for position, _ in good]), torch.from_numpy(np.stack([p for _, p in good]))


def normalised(images: Tensor, device: torch.device) -> Tensor:
    """uint8 [B, S, S, 3] -> ImageNet-normalised float32 [B, 3, S, S] on `device`."""
    return normalise(images.to(device).permute(0, 3, 1, 2).float() / 255)
