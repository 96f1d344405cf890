"""INT8 quantisation recipe: choose for every matrix product of the packed module how it is computed.

Batches must give what singles give, so no activation scale may depend on what else is in the batch. Each product
y = x W + b, x [rows, in], W [in, out], is treated in one of three ways:

- "static": x as uint8 with one scale and zero point, fixed by its activation range;
- "row": x as uint8 around 128 with one scale per token, computed from that token alone;
- "fp32": left as it is.

Weights are int8, symmetric, one scale per output channel; the bias takes out the mean error on the observed rows.
The recipe starts with the fastest treatments and spends time where it lowers the logit's error most (`drift`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from ..graph.packed import PackedDetector
from ..graph.packed_block import Dense
from .drift import Rounding, logit_drift
from .ranges import TINY, ActivationRange, activation_ranges, balance, constant, dense_layers

Kind = Literal["static", "row", "fp32"]

MAX_DRIFT = 0.007
"""Root mean square change of the logit that a recipe may cause on the images of the activation ranges, to first order:
less than a fifth of a percent of probability."""

MAX_ERROR = 0.05
"""Largest error ||y' - y|| / ||y - mean(y)|| of one product on the observed rows, whatever it does to the logit: the
LCAS map is read too. Rounding the weights alone costs about 0.01. The mean is subtracted because a constant offset (an
outlier channel that is always on) would make the denominator large and hide the error in the part that varies."""

COST = {"static": 1.0, "row": 1.3, "fp32": 3.3}
"""Time of a product relative to a static one, ViT-L on a CPU with AVX-512 VNNI."""

CLIPS = (1.0, 0.95, 0.9, 0.8, 0.7, 0.6, 0.5)
"""Fractions of the observed range tried as the static range; the one with the smallest output error is taken."""

DRIFT_IMAGES = 32
"""Images on which the drift is estimated, evenly picked: each costs some five inferences."""

SIGNED, UNSIGNED = 127, 255


@dataclass(frozen=True)
class Treatment:
    """How one product is computed; a recipe maps the name of every product to its treatment.

    Attributes:
        kind: "static", "row" or "fp32", see the module.
        error: relative error of the output on the observed rows (0 for fp32), see `MAX_ERROR`.
        peak: largest |input| observed.
        scale: for "static": x is about (q - zero_point) * scale.
        zero_point: for "static": the uint8 value that stands for 0.
        drift: root mean square change of the logit by this treatment alone, to first order; of the whole group where
            products share their input.
    """

    kind: Kind
    error: float
    peak: float
    scale: float = 1.0
    zero_point: int = 128
    drift: float = 0.0

    def rounded(self, x: Tensor) -> Tensor:
        """x [..., in], rounded as the treatment rounds it."""
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
    """x rounded to uint8 with a fixed scale and zero point, and back to float32."""
    return ((x / scale).round() + zero_point).clamp(0, UNSIGNED).sub(zero_point) * scale


def row_round(x: Tensor) -> Tensor:
    """x [..., in] rounded to uint8 with one scale a row, and back to float32."""
    scale = x.abs().amax(-1, keepdim=True).clamp_min(TINY) / SIGNED
    return (x / scale).round() * scale


class Rounded:
    """One product with rounded weights beside the exact one."""

    def __init__(self, layer: Dense, seen: ActivationRange) -> None:
        self.layer, self.seen = layer, seen
        self.values, self.scale = quantise_weight(layer.weight)

    def product(self, x: Tensor, treatment: Treatment) -> Tensor:
        """x [..., in] -> x W with both rounded, [..., out]."""
        return treatment.rounded(x) @ (self.values.float() * self.scale)

    def offset(self, treatment: Treatment) -> Tensor:
        """Mean error of the output on the observed rows, float32 [out]."""
        return (self.product(self.seen.rows, treatment) - self.seen.rows @ self.layer.weight.detach()).mean(0)

    def relative_errors(self, tried: Sequence[Treatment]) -> list[float]:
        """The error of each treatment as `MAX_ERROR` defines it."""
        exact = self.seen.rows @ self.layer.weight.detach()
        signal = (exact - exact.mean(0)).norm().clamp_min(TINY)
        return [float((self.product(self.seen.rows, treatment) - exact).norm() / signal) for treatment in tried]

    def correct_bias(self, treatment: Treatment) -> None:
        """Take the mean error out of the layer's bias, in place: rounding shifts outputs systematically."""
        self.layer.bias = constant(self.layer.bias.detach() - self.offset(treatment))


def shared_inputs(names: Iterable[str]) -> dict[str, list[str]]:
    """Groups of products with one input: queries, keys and values of a block together, every other product alone."""
    groups: dict[str, list[str]] = {}
    for name in names:
        prefix, _, leaf = name.rpartition(".")
        groups.setdefault(f"{prefix}.qkv" if leaf in ("q", "k", "v") else name, []).append(name)
    return groups


def treatments(products: Sequence[Rounded]) -> dict[Kind, Treatment]:
    """The treatments within `MAX_ERROR` of products that share their input; "fp32" is always among them."""
    low = min(float(product.seen.low.min()) for product in products)
    high = max(float(product.seen.high.max()) for product in products)
    peak = max(-low, high)

    tried = [Treatment("static", 0.0, peak, *static_scale(low * clip, high * clip)) for clip in CLIPS]
    tried.append(Treatment("row", 0.0, peak))
    errors = zip(*(product.relative_errors(tried) for product in products), strict=True)
    *static, row = (replace(item, error=max(found)) for item, found in zip(tried, errors, strict=True))
    offered = [item for item in (min(static, key=lambda item: item.error), row) if item.error <= MAX_ERROR]
    return {item.kind: item for item in (*offered, Treatment("fp32", 0.0, peak))}


def with_drift(
    packed: PackedDetector, batches: Sequence[np.ndarray], products: Mapping[str, Rounded],
    groups: Mapping[str, Sequence[str]], offered: Mapping[str, Mapping[Kind, Treatment]],
) -> dict[str, dict[Kind, Treatment]]:
    """The offered treatments with their drift; the changes by the products of a group are added image by image."""

    def corrected(rounded: Rounded, item: Treatment) -> Rounding:
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

    def measured(group: str, item: Treatment) -> Treatment:
        if item.kind == "fp32":
            return item
        together = torch.stack([changes[name][item.kind] for name in groups[group]]).sum(0)
        return replace(item, drift=float(together.square().mean().sqrt()))

    return {group: {kind: measured(group, item) for kind, item in items.items()} for group, items in offered.items()}


def cheapest(
    offered: Mapping[str, Mapping[Kind, Treatment]], sizes: Mapping[str, int], max_drift: float
) -> dict[str, Treatment]:
    """The fast treatment of every group whose drifts, taken as independent, stay within `max_drift` together.

    Greedy: starts with the fastest treatments and takes the step that lowers the squared drift most for its time.

    Args:
        offered: group -> kind -> treatment.
        sizes: number of weights of each group.
        max_drift: limit on the root of the summed squared drifts.
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


def choose_recipe(
    packed: PackedDetector, batches: Sequence[np.ndarray], max_drift: float = MAX_DRIFT
) -> dict[str, Treatment]:
    """Observe activation ranges, balance them and choose a treatment for every product.

    Args:
        packed: the float32 detector; balanced, and its biases corrected, in place.
        batches: images that set the activation ranges, uint8 [B, S, S, 3] each.
        max_drift: see `MAX_DRIFT`.

    Returns:
        The quantisation recipe: name of the product -> treatment.
    """
    seen = balance(packed, activation_ranges(packed, batches))
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
