"""NLL of a batch of images while a decoder is trained [Fig. 2]."""

from __future__ import annotations

import copy

import pytest
import torch
from cinemae.train.studies.decoder_curve import batch_nll
from cinemae.train.studies.image_batches import normalised


def test_the_nll_of_a_batch_is_that_of_a_plain_loop_in_float64(tiny_detector, random_images):
    """Eq. 2 with sigma = 1: half the mean squared error of the pixels that a run masks, then the mean of the runs."""
    inputs = normalised(torch.from_numpy(random_images), torch.device("cpu"))
    visible, size = tiny_detector.visible, tiny_detector.mae.config.patch_size
    found = batch_nll(tiny_detector.mae, inputs, visible)
    exact = copy.deepcopy(tiny_detector.mae).double()
    grid = tiny_detector.mae.config.grid
    for image, nll in zip(inputs.double(), found, strict=True):
        runs = []
        for seen in visible:
            with torch.inference_mode():
                predicted = exact.reconstruct(image[None], seen[None])[0]
            squares = []
            for patch in set(range(grid * grid)) - set(seen.tolist()):
                row, column = divmod(patch, grid)
                values = iter(predicted[patch].tolist())  # row, column, channel
                for y in range(row * size, (row + 1) * size):
                    for x in range(column * size, (column + 1) * size):
                        squares += [(next(values) - channel) ** 2 for channel in image[:, y, x].tolist()]
            runs.append(sum(squares) / len(squares) / 2)
        assert float(nll) == pytest.approx(sum(runs) / len(runs), rel=1e-5)
