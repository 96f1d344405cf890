"""Baselines of the packed engine: naive PyTorch on transformers' ViTMAE, and a plain ONNX export."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from cinemae.export.graph.packed_lcas import PackedLcas
from cinemae.export.graph.tracing import FUSED, trace
from cinemae.train.model.detector import CinemaeDetector, Detection
from torch import Tensor, nn


class PlainDetector(nn.Module):
    """The training model pass by pass: one full and K masked encoder passes, K decoder passes, LCAS, head."""

    def __init__(self, detector: CinemaeDetector) -> None:
        super().__init__()
        self.detector, self.lcas = detector, PackedLcas(detector)

    def forward(self, images: Tensor) -> Detection:
        """uint8 [B, S, S, 3] -> `Detection`."""
        detector = self.detector
        pixels = detector.pixels(images)
        normalised = detector.normalise(pixels)
        p = detector.mae.config.patch_size
        original = pixels.unflatten(3, (-1, p)).unflatten(2, (-1, p)).permute(0, 2, 4, 3, 5, 1).flatten(3).flatten(1, 2)
        runs = [
            detector.mae.reconstruct(normalised, seen)[:, hidden]
            for seen, hidden in zip(detector.visible, detector.masked, strict=True)
        ]
        predicted = torch.stack(runs, dim=1)
        if detector.method.pixel_space == "unit":
            predicted = predicted * self.lcas.std + self.lcas.mean
        stats, lcas = self.lcas(original, self.lcas.normalise(original), predicted)
        return Detection(detector.head(detector.f_global(normalised), stats), stats, lcas)


def plain_graph(detector: CinemaeDetector) -> Any:
    """A plain ONNX export of `detector`, fp32."""
    size = detector.mae.config.image_size
    return trace(PlainDetector(detector), (torch.zeros(2, size, size, 3, dtype=torch.uint8),), FUSED)


def naive(backbone: str, attention: str) -> Callable[[np.ndarray], object]:
    """transformers' ViTMAE with random weights: one full pass, two masked passes, a head.

    attention: "sdpa", which transformers takes by itself, pinned to torch's CPU flash kernel; or "eager".
    """
    from cinemae.train.model.presets import preset
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from transformers import ViTMAEConfig, ViTMAEForPreTraining

    config = preset(backbone)
    torch.manual_seed(0)
    options: dict[str, Any] = {"attn_implementation": attention}  # of the base class
    model = ViTMAEForPreTraining(
        ViTMAEConfig(
            hidden_size=config.encoder_dim, num_hidden_layers=config.encoder_depth,
            num_attention_heads=config.encoder_heads, intermediate_size=int(config.encoder_dim * config.mlp_ratio),
            decoder_hidden_size=config.decoder_dim, decoder_num_hidden_layers=config.decoder_depth,
            decoder_num_attention_heads=config.decoder_heads, patch_size=config.patch_size,
            decoder_intermediate_size=int(config.decoder_dim * config.mlp_ratio), mask_ratio=0.75,
            **options,
        )
    ).eval()
    head = torch.nn.Sequential(torch.nn.Linear(config.encoder_dim, 256), torch.nn.GELU(), torch.nn.Linear(256, 1))
    mean = torch.tensor([0.485, 0.456, 0.406])[:, None, None]
    std = torch.tensor([0.229, 0.224, 0.225])[:, None, None]

    def run(images: np.ndarray) -> object:
        with torch.no_grad(), sdpa_kernel(SDPBackend.FLASH_ATTENTION):
            pixels = (torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255 - mean) / std
            model.vit.config.mask_ratio = 0.0
            cls = model.vit(pixels).last_hidden_state[:, 0]
            model.vit.config.mask_ratio = 0.75
            original = model.patchify(pixels)
            errors = []
            for _ in range(2):
                out = model(pixels)
                errors.append((((out.logits - original) ** 2).sum(-1) * out.mask).sum(-1))
            return head(cls), errors

    return run
