"""The global encoder in the exported graph: timm's own forward, written with the operators of the packed graph.

Attention is spelled out, so that TensorRT makes one kernel of it, and with `dtype` float16 the matrix work and the
residual stream are half precision while norms and softmax stay float32, as in `packed_block`. All sizes but the batch
are constants of the graph.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from ...train.model.global_encoder import TimmEncoder

SUMS = {
    functional.layer_norm, functional.group_norm, functional.batch_norm, functional.normalize, functional.softmax,
    torch.softmax, Tensor.softmax, getattr(functional, "rms_norm", None),
}
"""Functions that sum over many values: float32 in every precision."""
PRODUCTS = {functional.linear, functional.conv2d}
SHAPE: Any = Tensor.shape
EVERY = -1
"""Stands for the size of the batch, in the sizes that a module reads and hands to reshape and expand."""


def attention(
    q: Tensor, k: Tensor, v: Tensor, attn_mask: Tensor | None = None, dropout_p: float = 0.0, is_causal: bool = False,
    scale: float | None = None, **_: Any,
) -> Tensor:
    """`scaled_dot_product_attention` of a frozen encoder in single operators: [B, H, T, d] each -> [B, H, T, d]."""
    assert not is_causal
    weights = (q * (scale or float(q.shape[-1]) ** -0.5)) @ k.transpose(-2, -1)
    if attn_mask is not None:
        weights = weights + attn_mask
    return weights.float().softmax(dim=-1).to(v.dtype) @ v


def product(
    function: Callable[..., Tensor], x: Tensor, weight: Tensor, bias: Tensor | None = None, *rest: Any, **options: Any
) -> Tensor:
    """A product in the type of its weight."""
    return function(x.to(weight.dtype), weight, None if bias is None else bias.to(weight.dtype), *rest, **options)


class Portable(TorchFunctionMode):
    """Replaces, while a module of timm runs, the functions that the graph needs in another form.

    Args:
        pixels: what the module reads, float32 [B, ...].
    """

    def __init__(self, pixels: Tensor) -> None:
        super().__init__()
        self.batch = int(pixels.shape[0])
        self.unit = pixels[:, 0, 0, 0] * 0 + 1

    def __torch_function__(
        self, function: Callable[..., Any], types: Any, arguments: tuple[Any, ...] = (), options: Any = None
    ) -> Any:
        """Call `function`, or its replacement."""
        options = options or {}
        given: Any = arguments[0] if arguments else None
        if function is functional.scaled_dot_product_attention:
            return attention(*arguments, **options)
        if function in SUMS:
            return function(given.float(), *arguments[1:], **options).to(given.dtype)
        if function in PRODUCTS:
            return product(function, *arguments, **options)
        if function == SHAPE.__get__:
            return tuple(EVERY if i == 0 and int(n) == self.batch else int(n) for i, n in enumerate(given.shape))
        if function in (Tensor.reshape, Tensor.view) and not isinstance(arguments[1], torch.dtype):
            sizes = arguments[1:] if isinstance(arguments[1], int) else tuple(arguments[1])
            return given.reshape(self.known(given, sizes))
        if function is Tensor.flatten and len(arguments) == 2 and arguments[1] > 0 and len(given) == self.batch:
            return given.reshape(self.known(given, (EVERY, *map(int, given.shape[1 : arguments[1]]), -1)))
        if function is Tensor.expand and arguments[1] == EVERY and all(n == -1 for n in arguments[2:]):
            return given * self.unit.to(given.dtype).reshape(-1, *(1 for _ in arguments[2:]))
        if function is Tensor.unbind:
            axis = arguments[1] if len(arguments) > 1 else options.get("dim", 0)
            return tuple(given.select(axis, i) for i in range(given.shape[axis]))
        if function in (Tensor.neg, Tensor.__neg__, torch.neg):
            return given * -1
        return function(*arguments, **options)

    def known(self, given: Tensor, sizes: tuple[int, ...]) -> tuple[int, ...]:
        """`sizes` of a reshape, in which only the batch is left to be inferred."""
        if sizes[0] != EVERY or sizes.count(-1) < 2:
            return sizes
        rest = math.prod(map(int, given.shape)) // self.batch // math.prod(n for n in sizes[1:] if n != -1)
        return (EVERY, *(rest if n == -1 else n for n in sizes[1:]))


class PackedGlobal(nn.Module):
    """uint8 [B, S, S, 3] -> f_global float32 [B, D], the numbers of `TimmEncoder`. Export only."""

    def __init__(self, encoder: TimmEncoder, dtype: torch.dtype) -> None:
        super().__init__()
        self.encoder = copy.deepcopy(encoder).cpu()
        for module in self.encoder.model.modules():
            if "norm" not in type(module).__name__.lower():
                for name, parameter in module.named_parameters(recurse=False):
                    setattr(module, name, nn.Parameter(parameter.to(dtype), requires_grad=False))

    def forward(self, images: Tensor) -> Tensor:
        """See the class."""
        pixels = images.float().permute(0, 3, 1, 2) / 255
        with Portable(pixels):
            return self.encoder(pixels).float()
