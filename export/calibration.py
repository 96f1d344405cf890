"""INT8 calibration: what enters every matrix product on real images, and scales moved from activations into weights.

Ranges are balanced where this is exact and free [SmoothQuant]: from a LayerNorm's gain into the layers it feeds, from
values into the projection (attention is linear in the values).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from .packed import Dense, Norm, PackedBlock, PackedDetector

MIGRATION = 0.5
"""Exponent that splits the range between activation and weight; one half equalises them."""

ROWS_PER_IMAGE = 24
"""Token rows sampled from each calibration image for the error estimates; ranges are taken over all rows."""

TINY = 1e-8


@dataclass(frozen=True)
class Sampled:
    """What calibration saw of one product's input: rows float32 [n, in]; low, high: [in], over all tokens."""

    rows: Tensor
    low: Tensor
    high: Tensor

    def scaled(self, by: Tensor) -> Sampled:
        """The same with every channel divided by `by` [in] (positive)."""
        return Sampled(self.rows / by, self.low / by, self.high / by)


def dense_layers(packed: PackedDetector) -> dict[str, Dense]:
    """Every product of encoder and decoder by its name; the patch embedding stays float32 (it sees raw pixels)."""
    layers = {name: module for name, module in packed.named_modules() if isinstance(module, Dense)}
    layers.pop("encoder.embed")
    return layers


def sample(packed: PackedDetector, batches: Sequence[np.ndarray]) -> dict[str, Sampled]:
    """Run calibration images, uint8 [B, S, S, 3] each, and keep what enters every product."""
    generator = torch.Generator().manual_seed(0)
    rows: dict[str, list[Tensor]] = {}
    ranges: dict[str, tuple[Tensor, Tensor]] = {}
    count = 1

    def keep(name: str, x: Tensor) -> None:
        flat = x.reshape(-1, x.shape[-1])
        low, high = flat.amin(0), flat.amax(0)
        if name in ranges:
            low, high = torch.minimum(low, ranges[name][0]), torch.maximum(high, ranges[name][1])
        ranges[name] = (low, high)
        picked = torch.randint(len(flat), (min(len(flat), ROWS_PER_IMAGE * count),), generator=generator)
        rows.setdefault(name, []).append(flat[picked].clone())

    handles = [
        layer.register_forward_pre_hook(lambda _, inputs, name=name: keep(name, inputs[0]))
        for name, layer in dense_layers(packed).items()
    ]
    try:
        with torch.no_grad():
            for batch in batches:
                count = len(batch)
                packed(torch.from_numpy(batch))
    finally:
        for handle in handles:
            handle.remove()
    return {name: Sampled(torch.cat(parts), *ranges[name]) for name, parts in rows.items()}


def balance(packed: PackedDetector, seen: dict[str, Sampled]) -> dict[str, Sampled]:
    """Move ranges from activations into weights, in place; returns `seen` as it is then. Exact but for rounding."""
    balanced = dict(seen)
    for prefix, block in blocks(packed):
        for norm, fed in ((block.norm1, ("q", "k", "v")), (block.norm2, ("fc1",))):
            names = [f"{prefix}.{name}" for name in fed]
            layers = [getattr(block, name) for name in fed]
            factor = factors([seen[name] for name in names], torch.cat([layer.weight for layer in layers], dim=1))
            divide_norm(norm, factor)
            for name, layer in zip(names, layers, strict=True):
                multiply_rows(layer, factor)
                balanced[name] = seen[name].scaled(factor)
        factor = factors([seen[f"{prefix}.proj"]], block.proj.weight)
        multiply_rows(block.proj, factor)
        divide_columns(block.v, factor)
        if prefix == "decoder.blocks.0":
            packed.decoder.mask_v = packed.decoder.mask_v / factor
        balanced[f"{prefix}.proj"] = seen[f"{prefix}.proj"].scaled(factor)
    return balanced


def blocks(packed: PackedDetector) -> Iterator[tuple[str, PackedBlock]]:
    """Every transformer block with its name."""
    for name, module in packed.named_modules():
        if isinstance(module, PackedBlock):
            yield name, module


def factors(seen: list[Sampled], weight: Tensor) -> Tensor:
    """Per input channel [in]: what to divide activations by and multiply weights with."""
    activation = torch.stack([torch.maximum(s.high.abs(), s.low.abs()) for s in seen]).amax(0).clamp_min(TINY)
    factor = activation**MIGRATION / weight.detach().abs().amax(1).clamp_min(TINY) ** (1 - MIGRATION)
    return factor / factor.log().mean().exp()


def divide_norm(norm: Norm, factor: Tensor) -> None:
    """Divide a LayerNorm's output channels."""
    norm.norm.weight = nn.Parameter(norm.norm.weight.detach() / factor, requires_grad=False)
    norm.norm.bias = nn.Parameter(norm.norm.bias.detach() / factor, requires_grad=False)


def multiply_rows(layer: Dense, factor: Tensor) -> None:
    """Multiply a layer's input channels."""
    layer.weight = nn.Parameter(layer.weight.detach() * factor[:, None], requires_grad=False)


def divide_columns(layer: Dense, factor: Tensor) -> None:
    """Divide a layer's output channels."""
    layer.weight = nn.Parameter(layer.weight.detach() / factor, requires_grad=False)
    layer.bias = nn.Parameter(layer.bias.detach() / factor, requires_grad=False)
