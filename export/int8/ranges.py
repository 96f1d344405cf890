"""Activation ranges of INT8: observed at the input of every matrix product, then partly moved into the weights.

Where it is exact and free, every channel is centred [Outlier Suppression+] and its range balanced against the weights'
[SmoothQuant]: between a LayerNorm and the layers it feeds, and between values and projection (attention is linear in
the values, and its weights sum to one).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from ...runtime.core.progress import Progress
from ..graph.packed import PackedDetector
from ..graph.packed_block import Dense, PackedBlock

MIGRATION = 0.5
"""Exponent that splits the range between activation and weight; one half equalises them."""

ROWS_PER_IMAGE = 16
"""Token rows kept of each image for the error estimates; ranges are taken over all rows."""

TINY = 1e-8


@dataclass(frozen=True)
class ActivationRange:
    """Observed input of one matrix product.

    Attributes:
        rows: a random choice of its rows (tokens), float32 [n, in].
        low: smallest value of each channel over all tokens, float32 [in].
        high: largest value of each channel over all tokens, float32 [in].
    """

    rows: Tensor
    low: Tensor
    high: Tensor

    def moved(self, centre: Tensor, factor: Tensor) -> ActivationRange:
        """The range of (x - centre) / factor; centre and factor are float32 [in], the factor positive."""
        return ActivationRange(*((x - centre) / factor for x in (self.rows, self.low, self.high)))


def dense_layers(packed: PackedDetector) -> dict[str, Dense]:
    """Every product of encoder and decoder by its name; the patch embedding stays float32 (it sees raw pixels)."""
    layers = {name: module for name, module in packed.named_modules() if isinstance(module, Dense)}
    layers.pop("encoder.embed")
    return layers


@contextmanager
def watching(packed: PackedDetector, see: Callable[[str, Tensor, Tensor], Tensor | None]) -> Iterator[None]:
    """Call see(name, input, output) at every product in the `with` block; a tensor it returns replaces the output."""
    handles = [
        layer.register_forward_hook(lambda _, inputs, output, name=name: see(name, inputs[0], output))
        for name, layer in dense_layers(packed).items()
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def activation_ranges(packed: PackedDetector, batches: Sequence[np.ndarray]) -> dict[str, ActivationRange]:
    """Observe the input of every matrix product while `packed` scores images.

    Args:
        packed: the float32 detector.
        batches: uint8 [B, S, S, 3] each.

    Returns:
        Name of the product -> its observed input.
    """
    generator = torch.Generator().manual_seed(0)
    rows: dict[str, list[Tensor]] = {}
    ranges: dict[str, tuple[Tensor, Tensor]] = {}
    count = 1

    def keep(name: str, x: Tensor, _: Tensor) -> None:
        flat = x.reshape(-1, x.shape[-1])
        low, high = flat.amin(0), flat.amax(0)
        if name in ranges:
            low, high = torch.minimum(low, ranges[name][0]), torch.maximum(high, ranges[name][1])
        ranges[name] = (low, high)
        picked = torch.randint(len(flat), (min(len(flat), ROWS_PER_IMAGE * count),), generator=generator)
        rows.setdefault(name, []).append(flat[picked].clone())

    with watching(packed, keep), torch.no_grad(), Progress("images", sum(map(len, batches))) as progress:
        for batch in batches:
            count = len(batch)
            packed(torch.from_numpy(batch))
            progress.advance(count, "ranges")
    return {name: ActivationRange(torch.cat(parts), *ranges[name]) for name, parts in rows.items()}


def balance(packed: PackedDetector, seen: dict[str, ActivationRange]) -> dict[str, ActivationRange]:
    """Centre the activations and move part of their range into the weights, exact up to float32 rounding.

    Args:
        packed: its weights are changed in place.
        seen: observed inputs; each is replaced by the range it has after the change (one by one: for ViT-L they take a
            gigabyte).

    Returns:
        `seen`.
    """
    for prefix, block in packed.named_modules():
        if not isinstance(block, PackedBlock):
            continue
        for norm, fed in ((block.norm1.norm, ("q", "k", "v")), (block.norm2.norm, ("fc1",))):
            names = [f"{prefix}.{name}" for name in fed]
            layers = [getattr(block, name) for name in fed]
            centre, factor = middle_and_factor([seen[name] for name in names], layers)
            norm.bias = constant((norm.bias.detach() - centre) / factor)
            norm.weight = constant(norm.weight.detach() / factor)
            for name, layer in zip(names, layers, strict=True):
                take_over(layer, centre, factor)
                seen[name] = seen[name].moved(centre, factor)
        name = f"{prefix}.proj"
        centre, factor = middle_and_factor([seen[name]], [block.proj])
        take_over(block.proj, centre, factor)
        block.v.weight = constant(block.v.weight.detach() / factor)
        block.v.bias = constant((block.v.bias.detach() - centre) / factor)
        if prefix == "decoder.blocks.0":
            packed.decoder.mask_v = (packed.decoder.mask_v - centre) / factor
        seen[name] = seen[name].moved(centre, factor)
    return seen


def middle_and_factor(seen: Sequence[ActivationRange], layers: Sequence[Dense]) -> tuple[Tensor, Tensor]:
    """Centre and factor of the input that `layers` share.

    Returns:
        centre, float32 [in], to subtract from each channel; factor, float32 [in], to divide the channel by afterwards
        and to multiply its weights with.
    """
    low = torch.stack([found.low for found in seen]).amin(0)
    high = torch.stack([found.high for found in seen]).amax(0)
    weight = torch.stack([layer.weight.detach().abs().amax(1) for layer in layers]).amax(0)
    reach = ((high - low) / 2).clamp_min(TINY)
    factor = reach**MIGRATION / weight.clamp_min(TINY) ** (1 - MIGRATION)
    return (high + low) / 2, factor / factor.log().mean().exp()


def take_over(layer: Dense, centre: Tensor, factor: Tensor) -> None:
    """Change `layer` in place so that it takes (x - centre) / factor instead of x and gives the same output."""
    layer.bias = constant(layer.bias.detach() + centre @ layer.weight.detach())
    layer.weight = constant(layer.weight.detach() * factor[:, None])


def constant(value: Tensor) -> nn.Parameter:
    """A parameter that no training changes."""
    return nn.Parameter(value, requires_grad=False)
