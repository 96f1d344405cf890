"""INT8 plan: choose for every matrix product of the packed module how it is computed.

Batches must give what singles give, so no activation scale may depend on what else is in the batch. Each product
y = x W + b, x [rows, in], W [in, out], is treated in one of three ways:

- "static": x as uint8 with one scale and zero point fixed by calibration;
- "row": x as uint8 around 128 with one scale per token, computed from that token alone;
- "fp32": left as it is.

Weights are int8, symmetric, one scale per output channel; the bias takes out the mean error of the calibration rows.
The plan starts with the cheapest treatment everywhere and spends time where it lowers the logit's error most (`drift`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from ..graph.packed import Dense, PackedDetector
from .drift import Rounding, logit_drift
from .ranges import TINY, Sampled, balance, constant, dense_layers, sample

Kind = Literal["static", "row", "fp32"]

MAX_DRIFT = 0.007
"""Root mean square change of the logit that a plan may cause on the calibration images, by the first-order estimate:
less than a fifth of a percent of probability."""

MAX_ERROR = 0.05
"""Largest error ||y' - y|| / ||y - mean(y)|| of one product on calibration rows, whatever it does to the logit: the
LCAS map is read too. Rounding the weights alone costs about 0.01. What is the same for every token (an outlier channel
that is always on) carries nothing, so it must not excuse an error."""

COST = {"static": 1.0, "row": 1.3, "fp32": 3.3}
"""Time of a product relative to a static one, ViT-L on a CPU with AVX-512 VNNI."""

CLIPS = (1.0, 0.95, 0.9, 0.8, 0.7, 0.6, 0.5)
"""Fractions of the calibrated range tried as the static range; the one with the smallest output error is taken."""

DRIFT_IMAGES = 32
"""Calibration images whose logits tell the drift, evenly picked: each costs some five inferences."""

SIGNED, UNSIGNED = 127, 255


@dataclass(frozen=True)
class LayerPlan:
    """Treatment of one product.

    error: what it adds to the output on calibration rows, relative (0 for fp32). drift: root mean square of what it
    alone changes in the logit, first order; of the group where products share their input. peak: largest |input| seen.
    static: x is about (q - zero_point) * scale.
    """

    kind: Kind
    error: float
    peak: float
    scale: float = 1.0
    zero_point: int = 128
    drift: float = 0.0

    def rounded(self, x: Tensor) -> Tensor:
        """x [..., in] as the treatment represents it."""
        if self.kind == "static":
            return static_round(x, self.scale, self.zero_point)
        return row_round(x) if self.kind == "row" else x


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
    """x [..., in] as uint8 with one scale per row represents it."""
    scale = x.abs().amax(-1, keepdim=True).clamp_min(TINY) / SIGNED
    return (x / scale).round() * scale


class Rounded:
    """One product with rounded weights beside the exact one."""

    def __init__(self, layer: Dense, seen: Sampled) -> None:
        self.layer, self.seen = layer, seen
        self.values, self.scale = quantise_weight(layer.weight)

    def product(self, x: Tensor, plan: LayerPlan) -> Tensor:
        """x [..., in] -> x W with both rounded, [..., out]."""
        return plan.rounded(x) @ (self.values.float() * self.scale)

    def offset(self, plan: LayerPlan) -> Tensor:
        """Mean error on the calibration rows [out]."""
        return (self.product(self.seen.rows, plan) - self.seen.rows @ self.layer.weight.detach()).mean(0)

    def relative_errors(self, plans: Sequence[LayerPlan]) -> list[float]:
        """See `MAX_ERROR`; one for each plan."""
        exact = self.seen.rows @ self.layer.weight.detach()
        signal = (exact - exact.mean(0)).norm().clamp_min(TINY)
        return [float((self.product(self.seen.rows, plan) - exact).norm() / signal) for plan in plans]

    def correct_bias(self, plan: LayerPlan) -> None:
        """Take the mean error out of the layer's bias, in place: rounding shifts outputs systematically."""
        self.layer.bias = constant(self.layer.bias.detach() - self.offset(plan))


def shared_inputs(names: Iterable[str]) -> dict[str, list[str]]:
    """Products by what they read: queries, keys and values of a block together, every other one alone."""
    groups: dict[str, list[str]] = {}
    for name in names:
        prefix, _, leaf = name.rpartition(".")
        groups.setdefault(f"{prefix}.qkv" if leaf in ("q", "k", "v") else name, []).append(name)
    return groups


def treatments(products: Sequence[Rounded]) -> dict[Kind, LayerPlan]:
    """What may be done with products that share their input; float32 always may."""
    low = min(float(product.seen.low.min()) for product in products)
    high = max(float(product.seen.high.max()) for product in products)
    peak = max(-low, high)

    tried = [LayerPlan("static", 0.0, peak, *static_scale(low * clip, high * clip)) for clip in CLIPS]
    tried.append(LayerPlan("row", 0.0, peak))
    errors = zip(*(product.relative_errors(tried) for product in products), strict=True)
    *static, row = (replace(item, error=max(found)) for item, found in zip(tried, errors, strict=True))
    offered = [item for item in (min(static, key=lambda item: item.error), row) if item.error <= MAX_ERROR]
    return {item.kind: item for item in (*offered, LayerPlan("fp32", 0.0, peak))}


def with_drift(
    packed: PackedDetector, batches: Sequence[np.ndarray], products: Mapping[str, Rounded],
    groups: Mapping[str, Sequence[str]], offered: Mapping[str, Mapping[Kind, LayerPlan]],
) -> dict[str, dict[Kind, LayerPlan]]:  # fmt: skip
    """The offered treatments with their drift; the products of a group change the logit together."""

    def corrected(rounded: Rounded, item: LayerPlan) -> Rounding:
        bias = rounded.layer.bias.detach() - rounded.offset(item)
        return lambda x: rounded.product(x, item) + bias

    roundings = {
        name: {kind: corrected(products[name], item) for kind, item in offered[group].items() if kind != "fp32"}
        for group, names in groups.items()
        for name in names
    }
    images = [image for batch in batches for image in batch]
    picked = np.linspace(0, len(images) - 1, min(DRIFT_IMAGES, len(images))).round().astype(int)
    changes = logit_drift(packed, [images[i] for i in picked], roundings)

    def measured(group: str, item: LayerPlan) -> LayerPlan:
        if item.kind == "fp32":
            return item
        together = torch.stack([changes[name][item.kind] for name in groups[group]]).sum(0)
        return replace(item, drift=float(together.square().mean().sqrt()))

    return {group: {kind: measured(group, item) for kind, item in items.items()} for group, items in offered.items()}


def cheapest(
    offered: Mapping[str, Mapping[Kind, LayerPlan]], sizes: Mapping[str, int], max_drift: float
) -> dict[str, LayerPlan]:
    """One treatment a group: the drifts, taken as independent, stay within `max_drift` for little time.

    Greedy: the step that lowers the squared drift most for the time it costs comes first. sizes: weights of a group.
    """
    chosen = {group: min(items.values(), key=lambda item: COST[item.kind]) for group, items in offered.items()}
    while sum(item.drift**2 for item in chosen.values()) > max_drift**2:
        steps = [
            ((chosen[group].drift ** 2 - item.drift**2) / (sizes[group] * extra), group, item.kind)
            for group, items in offered.items()
            for item in items.values()
            if (extra := COST[item.kind] - COST[chosen[group].kind]) > 0
        ]
        _, group, kind = max(steps)
        chosen[group] = offered[group][kind]
    return chosen


def plan(packed: PackedDetector, batches: Sequence[np.ndarray], max_drift: float = MAX_DRIFT) -> dict[str, LayerPlan]:
    """Calibrate on uint8 [B, S, S, 3] batches, decide for every product; rescales `packed` in place."""
    seen = balance(packed, sample(packed, batches))
    products = {name: Rounded(layer, seen[name]) for name, layer in dense_layers(packed).items()}
    groups = shared_inputs(products)
    offered = {group: treatments([products[name] for name in names]) for group, names in groups.items()}
    offered = with_drift(packed, batches, products, groups, offered)
    sizes = {group: sum(products[name].layer.weight.numel() for name in names) for group, names in groups.items()}
    found = {}
    for group, item in cheapest(offered, sizes, max_drift).items():
        for name in groups[group]:
            found[name] = item
            if item.kind != "fp32":
                products[name].correct_bias(item)
    return found
