"""The whole detector as one module: from uint8 images to logit, statistics and patch map."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from ...runtime.core.manifest import MethodConfig
from ...runtime.core.masks import masked_from_visible
from .global_encoder import TimmEncoder
from .head import Head
from .lcas import lcas_from_sums, normalise, patch_map, run_sums, statistics
from .mae import MaskedAutoencoder, global_feature, patchify


class Detection(NamedTuple):
    """Output of the detector.

    Attributes:
        logit: float32 [B]; the larger, the more likely AI-generated.
        stats: s1, s2, s3 [Eq. 6], float32 [B, 3].
        lcas: mean LCAS of each patch over the runs that masked it, float32 [B, N]; NaN where none did.
    """

    logit: Tensor
    stats: Tensor
    lcas: Tensor


class CinemaeDetector(nn.Module):
    """Masked autoencoder, K stored masks, LCAS and head; nothing is random in forward.

    The backbone is frozen as in the paper: in eval mode and without gradients until a study unfreezes it.

    Args:
        mae: backbone with encoder and decoder.
        head: the classifier.
        visible: visible patches of each run, int64 [K, V].
        method: constants of LCAS.
        encoder: gives f_global instead of the backbone's unmasked pass.
    """

    visible: Tensor
    masked: Tensor

    def __init__(
        self, mae: MaskedAutoencoder, head: Head, visible: np.ndarray, method: MethodConfig,
        encoder: TimmEncoder | None = None,
    ) -> None:
        super().__init__()
        self.mae, self.head, self.method, self.encoder = mae, head, method, encoder
        masked = masked_from_visible(visible, mae.config.n_patches)
        self.register_buffer("visible", torch.from_numpy(np.ascontiguousarray(visible)))
        self.register_buffer("masked", torch.from_numpy(masked))
        self.mae.requires_grad_(False).eval()

    def pixels(self, images: Tensor) -> Tensor:
        """Images uint8 [B, S, S, 3] -> pixels float32 [B, 3, S, S] in [0, 1]."""
        return images.float().permute(0, 3, 1, 2) / 255  # float first: TensorRT moves no uint8

    def normalise(self, pixels: Tensor) -> Tensor:
        """Pixels in [0, 1], float32 [B, 3, S, S] -> the same ImageNet-normalised."""
        return normalise(pixels)

    def f_global(self, normalised: Tensor) -> Tensor:
        """Feature of the backbone's unmasked pass after its norm [Eq. 3]: normalised [B, 3, S, S] -> [B, D]."""
        return global_feature(self.mae.encode(normalised), self.method.f_global)

    def lcas(self, pixels: Tensor, normalised: Tensor, visible: Tensor, masked: Tensor) -> Tensor:
        """LCAS of every masked patch [Eq. 4, 5], one masked pass after the other.

        Args:
            pixels: float32 [B, 3, S, S] in [0, 1].
            normalised: the same, ImageNet-normalised.
            visible: int64 [K, V], the visible patches of each run.
            masked: int64 [K, M], the others.

        Returns:
            float32 [B, K, M].
        """
        patches, per_patch = patchify(pixels, self.mae.config.patch_size), self.mae.config.patch_values // 3
        runs = [
            run_sums(patches, self.mae.reconstruct(normalised, seen), seen, hidden)
            for seen, hidden in zip(visible, masked, strict=True)
        ]
        return torch.stack([lcas_from_sums(run, per_patch, self.method) for run in runs], dim=1)

    def detect(self, images: Tensor, visible: Tensor, masked: Tensor) -> Detection:
        """Score images with any masks.

        Args:
            images: uint8 [B, S, S, 3].
            visible: int64 [K, V].
            masked: int64 [K, M].
        """
        pixels = self.pixels(images)
        normalised = self.normalise(pixels)
        lcas = self.lcas(pixels, normalised, visible, masked)
        stats = statistics(lcas)
        f_global = self.encoder(pixels) if self.encoder else self.f_global(normalised)
        logit = self.head(f_global, stats)
        return Detection(logit, stats, patch_map(lcas, masked, self.mae.config.n_patches))

    def forward(self, images: Tensor) -> Detection:
        """Score images with the stored masks: uint8 [B, S, S, 3]."""
        return self.detect(images, self.visible, self.masked)
