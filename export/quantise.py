"""INT8 plan: calibrate every matrix product of the packed module, balance its scales, choose its treatment.

Batches must give what singles give, so no activation scale may depend on what else is in the batch. Each product
y = x W + b, x [rows, in], W [in, out], is treated in one of three ways, the cheapest whose error is small enough:

- "static": x as uint8 with one scale and zero point fixed by calibration;
- "row": x as uint8 around 128 with one scale per token, computed from that token alone;
- "fp32": left as it is.

Weights are int8, symmetric, one scale per output channel. Before that, scales are moved from activations to weights
where this is exact and free [SmoothQuant]: from a LayerNorm's gain into the layers it feeds, from values into the
projection (attention is linear in the values).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from .packed import Dense, Norm, PackedBlock, PackedDetector

Kind = Literal["static", "row", "fp32"]

MAX_ERROR = {"static": 0.014, "row": 0.014}
"""Largest error ||y' - y|| / ||y - mean(y)|| a product may add on calibration rows; weights alone add about 0.01. What
is the same for every token (an outlier channel that is always on) carries nothing, so it must not excuse an error."""

MIGRATION = 0.5
"""Exponent that splits the range between activation and weight; one half equalises them."""

CLIPS = (1.0, 0.95, 0.9, 0.8, 0.7, 0.6, 0.5)
"""Fractions of the calibrated range tried as the static range; the one with the smallest output error is taken."""

ROWS_PER_IMAGE = 24
"""Token rows sampled from each calibration image for the error estimates; ranges are taken over all rows."""

SIGNED, UNSIGNED = 127, 255
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


@dataclass(frozen=True)
class LayerPlan:
    """Treatment of one product. error: relative error it adds on calibration rows (0 for fp32).

    static: x is about (q - zero_point) * scale. peak: largest |input| seen.
    """

    kind: Kind
    error: float
    peak: float
    scale: float = 1.0
    zero_point: int = 128


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


def quantise_weight(weight: Tensor) -> tuple[Tensor, Tensor]:
    """float32 [in, out] -> int8 [in, out] and float32 scale [out]."""
    scale = weight.detach().abs().amax(0).clamp_min(TINY) / SIGNED
    return (weight.detach() / scale).round().clamp(-SIGNED, SIGNED).to(torch.int8), scale


def static_scale(low: float, high: float) -> tuple[float, int]:
    """Scale and zero point of uint8 for a range that is made to hold zero, so that zero is exact."""
    low, high = min(low, 0.0), max(high, 0.0)
    scale = max((high - low) / UNSIGNED, TINY)
    return float(np.float32(scale)), int(np.clip(round(-low / scale), 0, UNSIGNED))


def static_round(x: Tensor, scale: float, zero_point: int) -> Tensor:
    """x as uint8 represents it."""
    return ((x / scale).round() + zero_point).clamp(0, UNSIGNED).sub(zero_point) * scale


def row_round(x: Tensor) -> Tensor:
    """x [n, in] as uint8 with one scale per row represents it."""
    scale = x.abs().amax(1, keepdim=True).clamp_min(TINY) / SIGNED
    return (x / scale).round() * scale


def plan_group(layers: Sequence[Dense], seen: Sequence[Sampled]) -> LayerPlan:
    """The cheapest treatment whose error on the sampled rows is within `MAX_ERROR`; the products share their input."""
    quantised = [quantise_weight(layer.weight) for layer in layers]
    approximate = [values.float() * scale for values, scale in quantised]
    exact = [s.rows @ layer.weight.detach() for s, layer in zip(seen, layers, strict=True)]
    low, high = min(float(s.low.min()) for s in seen), max(float(s.high.max()) for s in seen)
    peak = max(-low, high)

    def error(rounding: Callable[[Tensor], Tensor]) -> float:
        """The largest over the products."""
        return max(
            float((rounding(s.rows) @ weight - y).norm() / (y - y.mean(0)).norm().clamp_min(TINY))
            for s, weight, y in zip(seen, approximate, exact, strict=True)
        )

    candidates = [static_scale(low * clip, high * clip) for clip in CLIPS]
    tried = [(error(partial(static_round, scale=scale, zero_point=zero)), scale, zero) for scale, zero in candidates]
    smallest, best, zero_point = min(tried)
    if smallest <= MAX_ERROR["static"]:
        return LayerPlan("static", smallest, peak, best, zero_point)
    per_row = error(row_round)
    if per_row <= MAX_ERROR["row"]:
        return LayerPlan("row", per_row, peak)
    return LayerPlan("fp32", 0.0, peak)


def correct_bias(layer: Dense, seen: Sampled, decided: LayerPlan) -> None:
    """Take the mean error of a static product out of its bias, in place: rounding shifts outputs systematically."""
    values, scale = quantise_weight(layer.weight)
    rounded = static_round(seen.rows, decided.scale, decided.zero_point)
    error = seen.rows @ layer.weight.detach() - rounded @ (values.float() * scale)
    layer.bias = nn.Parameter(layer.bias.detach() + error.mean(0), requires_grad=False)


def plan(packed: PackedDetector, batches: Sequence[np.ndarray]) -> dict[str, LayerPlan]:
    """Calibrate on uint8 batches, decide for every product, and balance and bias-correct `packed` in place."""
    seen = balance(packed, sample(packed, batches))
    layers = dense_layers(packed)
    groups: dict[str, list[str]] = {}
    for name in layers:
        prefix, _, leaf = name.rpartition(".")
        groups.setdefault(f"{prefix}.qkv" if leaf in ("q", "k", "v") else name, []).append(name)
    found = {}
    for names in groups.values():
        decided = plan_group([layers[name] for name in names], [seen[name] for name in names])
        found.update(dict.fromkeys(names, decided))
        for name in names if decided.kind == "static" else ():
            correct_bias(layers[name], seen[name], decided)
    return found
