"""Write a backbone as our own weights file: safetensors in FAIR's key layout, the configuration in its metadata."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import save_file

from ...runtime.core.files import atomic_path
from ..model.mae import MaskedAutoencoder
from .files import BACKBONE_KEY, LICENCE_KEY

WEIGHTS_FILE = "backbone.safetensors"


def save_backbone(model: MaskedAutoencoder, path: Path, licence: str | None = None, half: bool = False) -> None:
    """Write the weights atomically.

    Args:
        model: encoder and decoder, or an encoder alone.
        path: the file to write.
        licence: licence of the weights, kept in the metadata.
        half: store float16 instead of float32.
    """
    dtype = torch.float16 if half else torch.float32
    tensors = {name: value.detach().to("cpu", dtype).contiguous() for name, value in model.state_dict().items()}
    metadata = {BACKBONE_KEY: model.config.model_dump_json()} | ({LICENCE_KEY: licence} if licence else {})
    with atomic_path(path) as temporary:
        save_file(tensors, temporary, metadata=metadata)
