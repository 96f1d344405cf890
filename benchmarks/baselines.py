"""What the packed engine is measured against: naive PyTorch on transformers' ViTMAE, and a plain ONNX export."""

from __future__ import annotations

from typing import Any

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
