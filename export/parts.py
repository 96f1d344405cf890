"""Encoder, decoder and head as three ONNX files with the masks as inputs, traced from the training model itself.

The runtime computes LCAS over them in numpy. That path shares no code with the packed graph, so each checks the other.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from ..runtime.core.manifest import Manifest
from ..runtime.engines.base import PARTS
from ..train.model.detector import CinemaeDetector
from .engine_file import write_engine
from .graph.tracing import BATCH, Signature, trace

KEPT, TOKENS = "kept", "tokens"

ENCODER = Signature(
    ("images", "keep"), ("tokens",),
    {"images": {0: BATCH}, "keep": {0: KEPT}, "tokens": {0: BATCH, 1: TOKENS}},
)
DECODER = Signature(
    ("tokens", "keep"), ("reconstruction",),
    {"tokens": {0: BATCH, 1: TOKENS}, "keep": {0: KEPT}, "reconstruction": {0: BATCH}},
)
HEAD = Signature(("cls", "stats"), ("logit",), {"cls": {0: BATCH}, "stats": {0: BATCH}, "logit": {0: BATCH}})


class Encoder(nn.Module):
    """uint8 [B, S, S, 3], int64 keep [T] -> tokens float32 [B, 1 + T, D] after the final norm."""

    def __init__(self, detector: CinemaeDetector) -> None:
        super().__init__()
        self.detector = detector

    def forward(self, images: Tensor, keep: Tensor) -> Tensor:
        """See the class."""
        detector = self.detector
        return detector.mae.encode(detector.normalise(detector.pixels(images)), keep)


class Decoder(nn.Module):
    """tokens float32 [B, 1 + V, D], int64 keep [V] -> reconstruction float32 [B, N, P], ImageNet-normalised pixels."""

    def __init__(self, detector: CinemaeDetector) -> None:
        super().__init__()
        self.mae = detector.mae

    def forward(self, tokens: Tensor, keep: Tensor) -> Tensor:
        """See the class."""
        return self.mae.decode(tokens, keep)


def export_parts(detector: CinemaeDetector, manifest: Manifest, folder: str | Path) -> Path:
    """Write the three files into `folder` (made if missing) and return it. Always float32."""
    folder = Path(folder)
    config = detector.mae.config
    images = torch.zeros(2, config.image_size, config.image_size, 3, dtype=torch.uint8)
    keep = detector.visible[0].cpu()
    tokens = torch.zeros(2, 1 + config.n_visible, config.encoder_dim)
    features = (torch.zeros(2, config.encoder_dim), torch.zeros(2, 3))
    graphs = {
        "encoder": (Encoder(detector), (images, keep), ENCODER),
        "decoder": (Decoder(detector), (tokens, keep), DECODER),
        "head": (detector.head, features, HEAD),
    }
    for file, (kind, (module, example, signature)) in zip(PARTS, graphs.items(), strict=True):
        part = manifest.model_copy(update={"kind": kind, "precision": "fp32"})
        write_engine(trace(module, example, signature), part, folder / file)
    return folder
