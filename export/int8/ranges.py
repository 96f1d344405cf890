"""INT8 calibration: what enters every matrix product on real images, and ranges moved from activations into weights.

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

from ...runtime.progress import Progress
from ..graph.packed import Dense, PackedBlock, PackedDetector

MIGRATION = 0.5
"""Exponent that splits the range between activation and weight; one half equalises them."""

ROWS_PER_IMAGE = 16
"""Token rows sampled from each calibration image for the error estimates; ranges are taken over all rows."""

TINY = 1e-8


@dataclass(frozen=True)
class Sampled:
    """What calibration saw of one product's input: rows float32 [n, in]; low, high: [in], over all tokens."""

    rows: Tensor
    low: Tensor
    high: Tensor

    def moved(self, centre: Tensor, factor: Tensor) -> Sampled:
        """(x - centre) / factor, [in] both, the factor positive."""
        return Sampled(*((x - centre) / factor for x in (self.rows, self.low, self.high)))


def dense_layers(packed: PackedDetector) -> dict[str, Dense]:
    """Every product of encoder and decoder by its name; the patch embedding stays float32 (it sees raw pixels)."""
    layers = {name: module for name, module in packed.named_modules() if isinstance(module, Dense)}
    layers.pop("encoder.embed")
    return layers


@contextmanager
def watching(packed: PackedDetector, see: Callable[[str, Tensor, Tensor], Tensor | None]) -> Iterator[None]:
    """Call see(name, input, output) at every product; a tensor it returns takes the output's place."""
    handles = [
        layer.register_forward_hook(lambda _, inputs, output, name=name: see(name, inputs[0], output))
        for name, layer in dense_layers(packed).items()
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def sample(packed: PackedDetector, batches: Sequence[np.ndarray]) -> dict[str, Sampled]:
    """Run calibration images, uint8 [B, S, S, 3] each, and keep what enters every product."""
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
    return {name: Sampled(torch.cat(parts), *ranges[name]) for name, parts in rows.items()}


def balance(packed: PackedDetector, seen: dict[str, Sampled]) -> dict[str, Sampled]:
    """Move ranges from activations into weights, in place, and change `seen` to what calibration would see then.

    Exact but for rounding. Returns `seen`, whose entries are replaced one by one: for ViT-L they take a gigabyte.
    """
    for prefix, block in blocks(packed):
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


def blocks(packed: PackedDetector) -> Iterator[tuple[str, PackedBlock]]:
    """Every transformer block with its name."""
    for name, module in packed.named_modules():
        if isinstance(module, PackedBlock):
            yield name, module


def middle_and_factor(seen: Sequence[Sampled], layers: Sequence[Dense]) -> tuple[Tensor, Tensor]:
    """Per input channel [in]: what to subtract from activations, and then to divide them by and multiply weights with.

    The layers share their input.
    """
    low = torch.stack([sampled.low for sampled in seen]).amin(0)
    high = torch.stack([sampled.high for sampled in seen]).amax(0)
    weight = torch.stack([layer.weight.detach().abs().amax(1) for layer in layers]).amax(0)
    reach = ((high - low) / 2).clamp_min(TINY)
    factor = reach**MIGRATION / weight.clamp_min(TINY) ** (1 - MIGRATION)
    return (high + low) / 2, factor / factor.log().mean().exp()


def take_over(layer: Dense, centre: Tensor, factor: Tensor) -> None:
    """Let `layer` expect (x - centre) / factor in the place of x."""
    layer.bias = constant(layer.bias.detach() + centre @ layer.weight.detach())
    layer.weight = constant(layer.weight.detach() * factor[:, None])


def constant(value: Tensor) -> nn.Parameter:
    """A parameter that no training changes."""
    return nn.Parameter(value, requires_grad=False)
