"""What rounding each matrix product does to the logit, to first order: one backward pass answers it for all at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from .calibration import dense_layers
from .packed import PackedDetector

ErrorOf = Callable[[Tensor], Tensor]
"""Input [..., in] of a product -> what its treatment adds to the output [..., out]."""


def logit_drift(
    packed: PackedDetector, batches: Sequence[np.ndarray], errors: Mapping[str, Mapping[str, ErrorOf]]
) -> dict[str, dict[str, Tensor]]:
    """Change of the logit on every image, float32 [images], for every product of `errors` and each of its treatments.

    The change is the inner product of the added error with the logit's gradient at the product's output. Images of the
    uint8 [B, S, S, 3] batches pass one by one: the backward pass keeps every activation.
    """
    changes: dict[str, dict[str, list[Tensor]]] = {
        name: {kind: [] for kind in treatments} for name, treatments in errors.items()
    }
    for image in (image for batch in batches for image in batch):
        inputs, outputs, logit = run(packed, image[None])
        gradients = torch.autograd.grad(logit, list(outputs.values()), allow_unused=True)
        for name, gradient in zip(outputs, gradients, strict=True):
            for kind, error in errors[name].items():
                change = torch.zeros(()) if gradient is None else (gradient * error(inputs[name])).sum()
                changes[name][kind].append(change)
    return {
        name: {kind: torch.stack(values) for kind, values in found.items()} for name, found in changes.items()
    }  # fmt: skip


def run(packed: PackedDetector, images: np.ndarray) -> tuple[dict[str, Tensor], dict[str, Tensor], Tensor]:
    """Inputs and outputs of every product by name, and the summed logit with its graph."""
    inputs: dict[str, Tensor] = {}
    outputs: dict[str, Tensor] = {}

    def keep(name: str, x: Tensor, y: Tensor) -> Tensor:
        inputs[name] = x.detach()
        outputs[name] = y if y.requires_grad else y.detach().requires_grad_()
        return outputs[name]

    handles = [
        layer.register_forward_hook(lambda _, x, y, name=name: keep(name, x[0], y))
        for name, layer in dense_layers(packed).items()
    ]
    try:
        with torch.enable_grad():
            logit = packed(torch.from_numpy(images)).logit.sum()
    finally:
        for handle in handles:
            handle.remove()
    return inputs, outputs, logit
