"""First-order change of the logit by the rounding of each matrix product, from one backward pass an image."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from ...runtime.core.progress import Progress
from ..graph.packed import PackedDetector
from .ranges import watching

Kind = TypeVar("Kind", bound=str)

Rounding = Callable[[Tensor], Tensor]
"""Input [..., in] of a product -> its output [..., out] as a treatment computes it."""


def logit_drift(
    packed: PackedDetector, images: Sequence[np.ndarray], roundings: Mapping[str, Mapping[Kind, Rounding]]
) -> dict[str, dict[Kind, Tensor]]:
    """Change of the logit on every image by every treatment of every product, to first order.

    The change is the inner product of the output's error with the logit's gradient at that output. Images are scored
    one by one because the backward pass keeps every activation.

    Args:
        packed: the float32 detector.
        images: uint8 [S, S, 3] each.
        roundings: name of the product -> treatment -> the product so computed.

    Returns:
        Name -> treatment -> change of the logit, float32 [images].
    """
    # filled in place: small tensors made between large ones would keep the heap from being used again
    changes = {name: {kind: torch.zeros(len(images)) for kind in kinds} for name, kinds in roundings.items()}
    inputs: dict[str, Tensor] = {}
    outputs: dict[str, Tensor] = {}

    def keep(name: str, x: Tensor, y: Tensor) -> Tensor:
        inputs[name] = x.detach()
        outputs[name] = y if y.requires_grad else y.detach().requires_grad_()
        return outputs[name]

    with watching(packed, keep), Progress("images", len(images)) as progress:
        for at, image in enumerate(images):
            with torch.enable_grad():
                logit = packed(torch.from_numpy(image[None])).logit.sum()
            gradients = torch.autograd.grad(logit, list(outputs.values()), allow_unused=True)
            for name, gradient in zip(outputs, gradients, strict=True):
                for kind, rounding in roundings[name].items():
                    if gradient is not None:
                        changes[name][kind][at] = (gradient * (rounding(inputs[name]) - outputs[name].detach())).sum()
            inputs.clear()
            outputs.clear()
            progress.advance(1, "sensitivity of the logit")
    return changes
