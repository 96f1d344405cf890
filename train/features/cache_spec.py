"""Everything that decides the value of a cached feature: weights, preprocessing, masks, augmentation, precision."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import Field

from ...runtime.core.errors import UsageError
from ...runtime.core.manifest import Backbone, GlobalFeature, MethodConfig, Model, Preprocess
from ...runtime.core.masks import MaskStrategy, draw_visible
from ..compute import Precision
from ..data.transforms import DELIVERY, TIERS

SPEC_FILE = "cache.json"


def draw_mask_sets(n_patches: int, method: MethodConfig) -> np.ndarray:
    """Draw the R mask sets of a method; set r has the seed mask_seed + r, and set 0 is the deployed one.

    Returns:
        visible patches, int64 [R, K, V].
    """
    sets = [
        draw_visible(n_patches, method.k, method.mask_strategy, method.mask_seed + r) for r in range(method.mask_sets)
    ]
    return np.stack(sets)


class CacheSpec(Model):
    """Everything that decides the value of a cached feature.

    Attributes:
        version: of the meaning of the features, so that no cache is misread; 2 since `scaled` halves all formats.
        backbone: weights that made the features.
        preprocess: resize and crop.
        visible: the mask sets, R sets of K runs of V visible patches.
        mask_strategy: how the masks were drawn.
        mask_seed: of the first set.
        f_global: which feature of the unmasked pass is cached.
        augment: name of the augmentation or corruption applied before the resize.
        views: augmented views of an image.
        augment_seed: seed of the augmentation.
        precision: of the matrix products.
    """

    version: Literal[1, 2] = 1
    backbone: Backbone
    preprocess: Preprocess
    visible: tuple[tuple[tuple[int, ...], ...], ...]
    mask_strategy: MaskStrategy
    mask_seed: int
    f_global: GlobalFeature = "cls"
    augment: str = "none"
    views: int = Field(1, ge=1)
    augment_seed: int = Field(0, ge=0)
    precision: Precision = "fp32"

    @classmethod
    def create(
        cls, backbone: Backbone, preprocess: Preprocess, method: MethodConfig, mask_sets: np.ndarray | None = None,
        augment: str = "none", views: int = 1, augment_seed: int = 0, precision: Precision = "fp32",
    ) -> CacheSpec:
        """Make a spec.

        Args:
            backbone: weights that make the features.
            preprocess: resize and crop.
            method: gives f_global, and the masks where `mask_sets` is None.
            mask_sets: stored masks, int64 [R, K, V].
            augment: name of the augmentation; with "none" there is one view, with "delivery" three, and no seed.
            views: augmented views of an image.
            augment_seed: seed of the augmentation.
            precision: of the matrix products, as `compute.choose_precision` gives it.
        """
        sets = draw_mask_sets(backbone.config.n_patches, method) if mask_sets is None else mask_sets
        visible = tuple(tuple(tuple(int(i) for i in run) for run in one) for one in sets)
        if augment in ("none", DELIVERY):
            views, augment_seed = 1 if augment == "none" else 1 + len(TIERS), 0
        return cls(
            version=2 if preprocess.decode == "scaled" else 1, backbone=backbone, preprocess=preprocess,
            visible=visible, mask_strategy=method.mask_strategy,
            mask_seed=method.mask_seed, f_global=method.f_global, augment=augment, views=views,
            augment_seed=augment_seed, precision=precision,
        )

    @property
    def key(self) -> str:
        """Name of the cache folder, 16 hex digits: a hash of the weights' bytes, the masks and all other fields.

        The place of the weights and the way the masks were drawn do not enter.
        """
        parts = self.model_dump(mode="json", exclude={"backbone", "mask_strategy", "mask_seed"})
        parts["backbone"] = [self.backbone.sha256, self.backbone.config.model_dump(mode="json", exclude={"name"})]
        if beside := self.backbone.global_encoder:
            parts["backbone"].append(beside.model_dump(mode="json", exclude={"source", "licence"}))
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]

    @property
    def tiers(self) -> tuple[str, ...]:
        """Name of each view of the augmentation "delivery", "" for images as found; empty for others."""
        return ("", *(tier.name for tier in TIERS)) if self.augment == DELIVERY else ()

    @property
    def lowest_quality(self) -> int | None:
        """Lowest JPEG quality of a tier; None without tiers."""
        return min(tier.quality for tier in TIERS) if self.tiers else None

    def mask_sets(self) -> np.ndarray:
        """The mask sets as an array: int64 [R, K, V]."""
        return np.asarray(self.visible, dtype=np.int64)

    def method(self, k: int | None = None) -> MethodConfig:
        """The default method with these masks, or with the first `k` runs of each set.

        Raises:
            UsageError: more runs than are cached.
        """
        r, cached, _ = self.mask_sets().shape
        if k is not None and not 1 <= k <= cached:
            raise UsageError(f"the cache holds K = {cached} runs a set, K = {k} was asked for; extract with --k {k}")
        return MethodConfig(f_global=self.f_global, k=k or cached, mask_sets=r, mask_strategy=self.mask_strategy,
                            mask_seed=self.mask_seed)

    def describe(self) -> str:
        """One line for lists and errors."""
        r, k, _ = self.mask_sets().shape
        views = f" x{self.views}" if self.views > 1 else ""
        precision = "" if self.precision == "fp32" else f", {self.precision}"
        weights = f"{self.backbone.source} ({self.backbone.sha256[:8]})"
        masks = f"{r} sets of K={k}"
        beside = self.backbone.global_encoder
        f_global = f"{beside.source} ({beside.sha256[:8]})" if beside else self.f_global
        return f"{self.key}: {weights}, f_global {f_global}, {masks}, augment {self.augment}{views}{precision}"


def find_caches(root: Path) -> list[Path]:
    """Find the cache folders under a root, sorted; the root itself where it is one."""
    if (root / SPEC_FILE).exists():
        return [root]
    return sorted(path.parent for path in root.glob(f"*/{SPEC_FILE}"))


def no_cache(root: Path) -> str:
    """The message for a root without a cache, with the command that makes a cache."""
    command = f"cinemae-train extract DATA --backbone WEIGHTS --cache {root}"
    return f"no feature cache under {root}; make a cache with: {command}"
