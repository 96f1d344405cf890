"""A frozen encoder of timm beside the masked autoencoder: another f_global for the same head.

B images, S the crop's side, T the encoder's input side, D its width after pooling.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from ...runtime.core.manifest import GlobalEncoder


def resize_matrix(source: int, target: int) -> Tensor:
    """Antialiased bicubic resize of one axis as a product: float32 [target, source], rows sum to 1.

    Both axes by one constant matrix are exact in every backend; their own operators of that name disagree.
    """
    columns = torch.eye(source)[None, None]
    return interpolate(columns, size=(target, source), mode="bicubic", antialias=True, align_corners=False)[0, 0]


class TimmEncoder(nn.Module):
    """Pixels to the pooled feature of a timm model, frozen and in eval mode.

    Args:
        model: made by timm, without classifier.
        info: its input side, mean and standard deviation.
        crop: side S of the images that it is given.
    """

    axis: Tensor
    mean: Tensor
    std: Tensor

    def __init__(self, model: nn.Module, info: GlobalEncoder, crop: int) -> None:
        super().__init__()
        self.model, self.resizes = model, crop != info.size
        self.register_buffer("axis", resize_matrix(crop, info.size))
        self.register_buffer("mean", torch.tensor(info.mean)[:, None, None])
        self.register_buffer("std", torch.tensor(info.std)[:, None, None])
        self.requires_grad_(False).eval()

    def normalised(self, pixels: Tensor) -> Tensor:
        """float32 [B, 3, S, S] in [0, 1] -> the encoder's input, float32 [B, 3, T, T]."""
        if self.resizes:
            with torch.autocast(pixels.device.type, enabled=False):
                pixels = (self.axis @ pixels @ self.axis.T).clamp(0, 1)
        return (pixels - self.mean) / self.std

    def forward(self, pixels: Tensor) -> Tensor:
        """float32 [B, 3, S, S] in [0, 1] -> feature as timm pools it, before any classifier: [B, D]."""
        model: Any = self.model
        pooled: Tensor = model.forward_head(model.forward_features(self.normalised(pixels)), pre_logits=True)
        return pooled
