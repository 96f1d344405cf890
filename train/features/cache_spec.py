"""What decides a cached feature: weights, preprocessing, stored masks, augmentation. Its hash names the folder."""

from __future__ import annotations

import hashlib
import json
from typing import Literal

import numpy as np
from pydantic import Field

from ...runtime.errors import UsageError
from ...runtime.manifest import Backbone, MethodConfig, Model, Preprocess
from ...runtime.masks import MaskStrategy, draw_visible


def draw_mask_sets(n_patches: int, method: MethodConfig) -> np.ndarray:
    """The R mask sets of a method, the deployed one first: int64 [R, K, V]; set r is drawn with seed mask_seed + r."""
    sets = [
        draw_visible(n_patches, method.k, method.mask_strategy, method.mask_seed + r) for r in range(method.mask_sets)
    ]
    return np.stack(sets)


class CacheSpec(Model):
    """Everything that decides what a cached feature is. `augment` names what was done to an image before the resize."""

    version: Literal[2] = 2  # what the cached sums mean (`lcas.RunSums`); raise it with every change of meaning
    backbone: Backbone
    preprocess: Preprocess
    visible: tuple[tuple[tuple[int, ...], ...], ...]
    mask_strategy: MaskStrategy
    mask_seed: int
    augment: str = "none"
    views: int = Field(1, ge=1)
    augment_seed: int = Field(0, ge=0)

    @classmethod
    def create(
        cls, backbone: Backbone, preprocess: Preprocess, method: MethodConfig, mask_sets: np.ndarray | None = None,
        augment: str = "none", views: int = 1, augment_seed: int = 0,
    ) -> CacheSpec:  # fmt: skip
        """A spec with `method`'s masks, or stored ones, int64 [R, K, V]; without augmentation: one view, no seed."""
        sets = draw_mask_sets(backbone.config.n_patches, method) if mask_sets is None else mask_sets
        visible = tuple(tuple(tuple(int(i) for i in run) for run in one) for one in sets)
        if augment == "none":
            views, augment_seed = 1, 0
        return cls(
            backbone=backbone, preprocess=preprocess, visible=visible, mask_strategy=method.mask_strategy,
            mask_seed=method.mask_seed, augment=augment, views=views, augment_seed=augment_seed,
        )  # fmt: skip

    @property
    def key(self) -> str:
        """16 hex digits. Where weights lie and how masks were drawn do not enter: the bytes and the masks do."""
        parts = self.model_dump(mode="json", exclude={"backbone", "mask_strategy", "mask_seed"})
        parts["backbone"] = [self.backbone.sha256, self.backbone.config.model_dump(mode="json", exclude={"name"})]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]

    def mask_sets(self) -> np.ndarray:
        """int64 [R, K, V]."""
        return np.asarray(self.visible, dtype=np.int64)

    def method(self, k: int | None = None) -> MethodConfig:
        """The default method with these masks, or with the first `k` runs of each set.

        Raises:
            UsageError: more runs than are cached.
        """
        r, cached, _ = self.mask_sets().shape
        if k is not None and not 1 <= k <= cached:
            raise UsageError(f"the cache holds K = {cached} runs a set, K = {k} was asked for; extract with --k {k}")
        return MethodConfig(k=k or cached, mask_sets=r, mask_strategy=self.mask_strategy, mask_seed=self.mask_seed)

    def describe(self) -> str:
        """One line for lists and errors."""
        r, k, _ = self.mask_sets().shape
        views = f" x{self.views}" if self.views > 1 else ""
        weights = f"{self.backbone.source} ({self.backbone.sha256[:8]})"
        return f"{self.key}: {weights}, {r} sets of K={k}, augment {self.augment}{views}"
