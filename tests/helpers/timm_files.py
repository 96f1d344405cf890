"""Weights files of timm's encoders with seeded random values, as timm's repositories on the hub hold them.

Published: `model.safetensors`, the model's state dictionary with its classifier, and `config.json` with `architecture`
and `pretrained_cfg` (timm 1.0.31, models/_hub.py `save_for_hf`).
"""

from __future__ import annotations

from pathlib import Path

import timm
from random_parameters import randomise
from safetensors.torch import save_file

PLAIN, REGISTERS, ROTARY = "test_vit", "test_vit2", "vit_tiny_patch16_dinov3_qkvb"
"""The smallest architectures of timm of each kind: absolute positions (160 px, token pooled), registers (160 px, mean
pooled), rotary positions beside registers (256 px)."""


def write_timm(path: Path, name: str, licence: str | None = None, classes: int = 0) -> str:
    """Write the weights of the architecture `name` to `path`; returns NAME:FILE."""
    model = timm.create_model(name, pretrained=False, num_classes=classes)
    randomise(model, seed=3)
    save_file(model.state_dict(), path, metadata={"cinemae.licence": licence} if licence else None)
    return f"{name}:{path}"
