"""The frozen backbone on batches of images: the features that the cache keeps, all masked runs as one batch."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ...runtime.core.manifest import GlobalFeature
from ...runtime.core.masks import masked_from_visible
from ..compute import Precision, choose_device, computing, map_dividing_threads
from ..model.global_encoder import TimmEncoder
from ..model.lcas import by_channel, masked_sums, normalise
from ..model.mae import MaskedAutoencoder, patchify
from ..model.masked_runs import encode_global, predict_masked
from .cache import Features

ROWS = {"cpu": 3200, "cuda": 65_536}
"""Decoder tokens computed at once, by device: memory stays flat for any batch, number of runs and size of image. On
processors eight images of the default masks, and fewer where the batch would not have a piece for every core; one to
eight took the same time within the noise of a busy machine."""


class FeatureExtractor:
    """The frozen backbone: uint8 images to the features that the cache keeps.

    LayerNorm, softmax, the prediction layer and the sums of LCAS are float32 in every precision.

    Args:
        mae: backbone with encoder and decoder.
        mask_sets: int64 [R, K, V].
        device: to compute on; None takes CUDA where there is one.
        precision: of the matrix products.
        kind: of f_global.
        encoder: gives f_global instead of the backbone's unmasked pass.
        rows: decoder tokens at once; None takes the device's value in `ROWS`.
    """

    def __init__(
        self, mae: MaskedAutoencoder, mask_sets: np.ndarray, device: torch.device | None = None,
        precision: Precision = "fp32", kind: GlobalFeature = "cls", rows: int | None = None,
        encoder: TimmEncoder | None = None,
    ) -> None:
        self.device = device or choose_device("auto")
        self.precision, self.kind = precision, kind
        self.mae = mae.to(self.device).eval()
        self.encoder = encoder and encoder.to(self.device)
        self.shape = mask_sets.shape[:2]
        runs = mask_sets.reshape(-1, mask_sets.shape[2])
        self.visible = torch.from_numpy(runs).to(self.device)
        self.masked = torch.from_numpy(masked_from_visible(runs, mae.config.n_patches)).to(self.device)
        passes = max(1, (rows or ROWS[self.device.type]) // (1 + mae.config.n_patches))
        self.runs_at_once = min(passes, len(runs))
        self.images_at_once = max(1, passes // len(runs))

    def __call__(self, images: np.ndarray) -> Features:
        """Images uint8 [B, S, S, 3] -> features of B rows."""
        whole = torch.from_numpy(images)
        if self.device.type == "cuda":
            computed = [self._compute(part) for part in whole.pin_memory().split(self.images_at_once)]
        else:
            share = -(-len(images) // torch.get_num_threads())
            computed = map_dividing_threads(self._compute, whole.split(min(self.images_at_once, share)))
        f_global, sums, context = (torch.cat(column).cpu() for column in zip(*computed, strict=True))
        sums, context = sums.unflatten(1, self.shape), context.unflatten(1, self.shape)
        return Features(f_global.numpy(), sums.numpy(), context.numpy(), self.mae.config.patch_values // 3)

    def _compute(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Uint8 [b, S, S, 3] -> f_global [b, D] and, of all R K runs, the two tensors of `RunSums`; float32."""
        mae = self.mae
        with torch.inference_mode(), computing(self.precision, self.device):
            pixels = images.to(self.device, non_blocking=True).permute(0, 3, 1, 2).float() / 255
            embedded = mae.embed(normalise(pixels))
            f_global = self.encoder(pixels) if self.encoder else encode_global(mae, embedded, self.kind)
            patches = by_channel(patchify(pixels, mae.config.patch_size)).contiguous()
            pieces = zip(self.visible.split(self.runs_at_once), self.masked.split(self.runs_at_once), strict=True)
            runs = [
                masked_sums(patches, predict_masked(mae, embedded, seen, hidden), seen, hidden)
                for seen, hidden in pieces
            ]
            sums, context = (torch.cat([getattr(run, name) for run in runs], dim=1) for name in ("sums", "context"))
            return f_global.float(), sums, context
