"""The manifest: one versioned schema that describes a checkpoint or an engine, validated wherever one is read."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from .display_text import shown
from .errors import ManifestError
from .masks import MASK_RATIO, MaskStrategy, visible_count

SCHEMA_VERSION: Final = 1
METADATA_KEY = "cinemae.manifest"
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
CC_BY_NC = "CC-BY-NC-4.0"

Fusion = Literal["early_add", "early_concat", "early_gate", "late_add", "late_concat", "late_gate"]
Statistic = Literal["s1", "s2", "s3"]


class Model(BaseModel):
    """Base of every manifest part: immutable, no unknown fields, no NaN."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class BackboneConfig(Model):
    """Shape of a masked autoencoder. `norm_eps` belongs to the weights: 1e-6 in FAIR files, 1e-12 in Hugging Face's.

    All three decoder fields 0: an encoder alone.
    """

    name: str = "custom"
    image_size: int = Field(224, ge=16)
    patch_size: int = Field(16, ge=1)
    encoder_dim: int = Field(ge=1)
    encoder_depth: int = Field(ge=1)
    encoder_heads: int = Field(ge=1)
    decoder_dim: int = Field(ge=0)
    decoder_depth: int = Field(ge=0)
    decoder_heads: int = Field(ge=0)
    mlp_ratio: float = Field(4.0, gt=0)
    norm_eps: float = Field(1e-6, ge=0)

    @model_validator(mode="after")
    def _divisible(self) -> BackboneConfig:
        if self.image_size % self.patch_size:
            raise ValueError(f"image_size {self.image_size} is not a multiple of patch_size {self.patch_size}")
        decoder = (self.decoder_dim, self.decoder_depth, self.decoder_heads)
        if any(decoder) != all(decoder):
            raise ValueError(f"the decoder's width, depth and heads must be all positive or all 0, got {decoder}")
        if self.encoder_dim % self.encoder_heads or (any(decoder) and self.decoder_dim % self.decoder_heads):
            raise ValueError("a width is not a multiple of its number of heads")
        return self

    @property
    def grid(self) -> int:
        """Patches along one side."""
        return self.image_size // self.patch_size

    @property
    def n_patches(self) -> int:
        """N: 196 for 16x16 patches, 256 for 14x14."""
        return self.grid**2

    @property
    def patch_values(self) -> int:
        """Values in one patch, row x column x channel: 768 for 16x16, 588 for 14x14."""
        return self.patch_size**2 * 3

    @property
    def n_visible(self) -> int:
        """V: visible patches in a masked pass."""
        return visible_count(self.n_patches)


class MethodConfig(Model):
    """The method's settings, also those that the paper leaves open, with their defaults [Eq. 4-6]."""

    k: int = Field(2, ge=1, le=64)
    mask_ratio: float = Field(MASK_RATIO, ge=MASK_RATIO, le=MASK_RATIO)
    mask_strategy: MaskStrategy = "balanced"
    mask_seed: int = Field(0, ge=0)
    mask_sets: int = Field(4, ge=1)
    lambda_: float = Field(0.1, ge=0)
    pixel_space: Literal["unit", "imagenet"] = "unit"
    stat_reduction: Literal["mean", "sum"] = "mean"
    fidelity_reduction: Literal["sum", "mean"] = "sum"
    sigma_floor: float = Field(1e-3, gt=0)


class HeadConfig(Model):
    """Shape of the head (Eq. 7-9) and the variants of Tables 6a and 7. No statistics means f_global alone."""

    statistics: tuple[Statistic, ...] = ("s1", "s2", "s3")
    fusion: Fusion = "early_add"
    standardize: bool = True
    agg_hidden: tuple[int, int] = (256, 512)
    cls_hidden: int = Field(256, ge=1)


class Preprocess(Model):
    """The one image preprocessing: resize the short side, centre crop, uint8 RGB; normalisation is inside the graph."""

    resize_short: int = Field(256, ge=1, le=4096)
    crop: int = Field(224, ge=1, le=2048)
    interpolation: Literal["bicubic"] = "bicubic"
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD

    @model_validator(mode="after")
    def _sane(self) -> Preprocess:
        if self.resize_short < self.crop:
            raise ValueError(f"resize_short {self.resize_short} is below crop {self.crop}")
        if min(self.std) <= 0:
            raise ValueError("every std must be positive")
        return self


class Backbone(Model):
    """The weights: their source, licence and, of the file they were read from, the SHA-256."""

    config: BackboneConfig
    source: str
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    licence: str


class SourceRates(Model):
    """The verdicts that one source's images got from a head that had not seen the source.

    Attributes:
        source: name of the generator or collection.
        label: class of its images.
        images: how many.
        ai: share called ai, in [0, 1].
        real: share called real; the rest is uncertain.
    """

    source: str
    label: Literal["ai", "real"]
    images: int = Field(ge=1)
    ai: float = Field(ge=0, le=1)
    real: float = Field(ge=0, le=1)


class Calibration(Model):
    """Probability calibration and the two thresholds, in raw logits.

    probability = sigmoid(a * logit + b) at equal priors (Platt 1999). The verdict is `ai` from `ai_from` on
    (logit >= ai_from), `real` below `real_below` (logit < real_below), and `uncertain` between them. Where both are
    equal nothing is uncertain.

    Attributes:
        a: slope, above 0.
        b: offset.
        ai_from: None: no image is ever called ai, because too few real ones were there to promise `false_alarm`.
        real_below: None: no image is ever called real.
        false_alarm: largest share of real images that get `ai`, in (0, 1); None where nothing is promised.
        miss: largest share of AI images that get `real`; None where nothing is promised.
        n_real: real images behind `ai_from`.
        n_ai: AI images behind `real_below`.
        sources: the rates reached, source by source.
        fitted_on: the images behind all this, in words.
    """

    a: float = Field(1.0, gt=0)
    b: float = 0.0
    ai_from: float | None = 0.0
    real_below: float | None = 0.0
    false_alarm: float | None = Field(None, gt=0, lt=1)
    miss: float | None = Field(None, gt=0, lt=1)
    n_real: int = Field(0, ge=0)
    n_ai: int = Field(0, ge=0)
    sources: tuple[SourceRates, ...] = ()
    fitted_on: str = "not calibrated"

    @model_validator(mode="before")
    @classmethod
    def _from_one_threshold(cls, values: Any) -> Any:
        """Older engines stored one threshold and an uncertain band, both ends of it uncertain.

        Nobody measured how many AI images they call real; so `real` also needs a probability of at most one half.
        """
        if not isinstance(values, dict) or "threshold" not in values:
            return values
        kept = dict(values)
        threshold, target = kept.pop("threshold"), kept.pop("target_fpr", None)
        low, high = kept.pop("uncertain_low", threshold), kept.pop("uncertain_high", threshold)
        a, b = kept.get("a", 1.0), kept.get("b", 0.0)
        if not all(isinstance(value, (int, float)) for value in (threshold, low, high, a, b, target or 0)):
            raise ValueError("threshold, band, slope and offset must be numbers")
        if not low <= threshold <= high:
            raise ValueError("uncertain_low <= threshold <= uncertain_high does not hold")
        kept["false_alarm"] = target if target and target < 1 else None
        kept["ai_from"] = threshold if low == high else math.nextafter(high, math.inf)
        kept["real_below"] = min(low, -b / a) if a > 0 else low
        return kept

    @model_validator(mode="after")
    def _ordered(self) -> Calibration:
        if self.ai_from is not None and self.real_below is not None and self.real_below > self.ai_from:
            raise ValueError("real_below <= ai_from does not hold")
        return self

    def probability(self, logit: float, prior: float = 0.5) -> float:
        """P(AI) in [0, 1] of a raw logit, where `prior`, in (0, 1), is the share of AI images among those scored."""
        x = self.a * logit + self.b + math.log(prior / (1 - prior))
        return 1 / (1 + math.exp(-x)) if x >= 0 else math.exp(x) / (1 + math.exp(x))

    def logit_of(self, probability: float) -> float:
        """Raw logit at which P(AI) is `probability`, in (0, 1), at equal priors."""
        return (math.log(probability / (1 - probability)) - self.b) / self.a


class Masks(Model):
    """The deployed mask set: visible patch indices of each run, K rows of V, each sorted."""

    visible: tuple[tuple[int, ...], ...]

    def array(self) -> np.ndarray:
        """int64 [K, V]."""
        return np.asarray(self.visible, dtype=np.int64)


class StatRange(Model):
    """1st and 99th percentile of a statistic over the training set: outside of it the head extrapolates."""

    low: float
    high: float


class Training(Model):
    """The head's training data, in words and counts."""

    data: str = ""
    generators: tuple[str, ...] = ()
    n_ai: int = 0
    n_real: int = 0
    augment: str = "none"
    epochs: int = 0
    seed: int = 0
    note: str = ""


class Golden(Model):
    """The expected raw logit of the synthetic image `golden.golden_image`, and its tolerance on other machines."""

    logit: float
    tolerance: float = Field(gt=0)


class Manifest(Model):
    """Everything about a checkpoint or an engine but its weights."""

    schema_version: Literal[1] = SCHEMA_VERSION
    name: str
    kind: Literal["checkpoint", "fused", "encoder", "decoder", "head"]
    precision: Literal["fp32", "fp16", "int8"] = "fp32"
    demonstration: bool = False
    method: MethodConfig
    head: HeadConfig
    preprocess: Preprocess = Preprocess()
    backbone: Backbone
    masks: Masks
    calibration: Calibration = Calibration()
    stat_ranges: dict[Statistic, StatRange] = {}
    heatmap_range: StatRange | None = None
    training: Training = Training()
    metrics: dict[str, dict[str, float]] = {}
    golden: Golden | None = None
    licence: str = "Apache-2.0"
    tools: dict[str, str] = {}
    content_sha256: str = Field("0" * 64, pattern=r"^[0-9a-f]{64}$")
    external_data: dict[str, str] = {}

    @model_validator(mode="after")
    def _consistent(self) -> Manifest:
        config = self.backbone.config
        if len(self.masks.visible) != self.method.k:
            raise ValueError(f"masks.visible has {len(self.masks.visible)} runs, method.k is {self.method.k}")
        for row in self.masks.visible:
            if len(row) != config.n_visible or list(row) != sorted(set(row)):
                raise ValueError(f"every mask run must list {config.n_visible} different patches in ascending order")
            if row[0] < 0 or row[-1] >= config.n_patches:
                raise ValueError(f"mask indices must lie in [0, {config.n_patches})")
        if self.preprocess.crop != config.image_size:
            raise ValueError(f"preprocess.crop {self.preprocess.crop} is not image_size {config.image_size}")
        return self

    def to_json(self, indent: int | None = None) -> str:
        """The manifest as JSON text."""
        return self.model_dump_json(indent=indent)

    @classmethod
    def from_json(cls, text: str | bytes, where: str | Path) -> Manifest:
        """Parse and validate.

        Args:
            text: JSON.
            where: the file, for messages.

        Raises:
            ManifestError: not JSON, another schema version, or inconsistent fields; the message names each field.
        """
        try:
            values: Any = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise ManifestError(f"{where}: the manifest is not valid JSON ({error}); export the engine again") from None
        version = values.get("schema_version") if isinstance(values, dict) else None
        if version != SCHEMA_VERSION:
            raise ManifestError(
                f"{where}: manifest schema {shown(repr(version))} is not the version {SCHEMA_VERSION} "
                "this release reads; export the engine again with this release, or install the release that wrote it"
            )
        try:
            return cls.model_validate_json(text)
        except ValidationError as error:
            fields = [(shown(".".join(map(str, e["loc"]))) or "manifest", shown(e["msg"])) for e in error.errors()[:3]]
            problems = "; ".join(f"{name}: {message}" for name, message in fields)
            raise ManifestError(f"{where}: the manifest is not valid ({problems}); export the engine again") from None
