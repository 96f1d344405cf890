"""The manifest: one versioned schema that describes a checkpoint or an engine, validated wherever one is read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from pydantic import Field, SerializerFunctionWrapHandler, ValidationError, model_serializer, model_validator

from .calibration import Calibration, Model
from .errors import ManifestError
from .masks import MASK_RATIO, MaskStrategy, visible_count
from .text import shown

SCHEMA_VERSION: Final = 1
SHORT_HASH = 12
"""Digits of an engine's content hash that records name."""
METADATA_KEY = "cinemae.manifest"
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
CC_BY_NC = "CC-BY-NC-4.0"
UNKNOWN_LICENCE = "unknown"
PERMISSIVE = ("apache-2.0", "mit", "bsd-2-clause", "bsd-3-clause", "cc0-1.0", "cc-by-4.0")
"""Licences, in lower case, whose terms the stricter licence of another part does not contradict."""

Fusion = Literal["early_add", "early_concat", "early_gate", "late_add", "late_concat", "late_gate"]
HeadKind = Literal["paper", "logistic"]
Statistic = Literal["s1", "s2", "s3"]
Decode = Literal["full", "scaled"]
GlobalFeature = Literal["cls", "mean"]
Precision = Literal["fp32", "fp16", "bf16", "int8"]


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
    """The method's settings, also those that the paper leaves open, with their defaults [Eq. 3-6].

    `f_global` is taken from the unmasked pass: CLS as in the paper, or the mean of the patch tokens.
    """

    f_global: GlobalFeature = "cls"
    k: int = Field(2, ge=1, le=64)
    mask_ratio: float = Field(MASK_RATIO, ge=MASK_RATIO, le=MASK_RATIO)
    mask_strategy: MaskStrategy = "balanced"
    mask_seed: int = Field(0, ge=0)
    mask_sets: int = Field(1, ge=1)
    lambda_: float = Field(0.1, ge=0)
    pixel_space: Literal["unit", "imagenet"] = "unit"
    stat_reduction: Literal["mean", "sum"] = "mean"
    fidelity_reduction: Literal["sum", "mean"] = "sum"
    sigma_floor: float = Field(1e-3, gt=0)


class HeadConfig(Model):
    """Shape of the head (Eq. 7-9) and the variants of Tables 6a and 7. No statistics means f_global alone.

    `kind: logistic` is a single product of f_global and the logarithms of the statistics; of the other fields only
    `statistics` concerns it.
    """

    kind: HeadKind = "paper"
    statistics: tuple[Statistic, ...] = ("s1", "s2", "s3")
    fusion: Fusion = "early_add"
    standardize: bool = True
    agg_hidden: tuple[int, int] = (256, 512)
    cls_hidden: int = Field(256, ge=1)


class Preprocess(Model):
    """The one image preprocessing: resize the short side, centre crop, uint8 RGB; normalisation is inside the graph.

    `decode: scaled` halves large images cheaply first, JPEGs in the decoder, never below twice the size needed.
    """

    resize_short: int = Field(256, ge=1, le=4096)
    crop: int = Field(224, ge=1, le=2048)
    decode: Decode = "full"
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


class GlobalEncoder(Model):
    """A frozen encoder of timm beside the masked autoencoder, whose pooled feature is f_global.

    `source` is NAME or NAME:FILE, `name` the architecture with its tag, `dim` the feature's width. The encoder sees the
    crop, resized to `size` pixels a side and normalised with `mean` and `std`.
    """

    source: str
    name: str
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    licence: str
    dim: int = Field(ge=1)
    size: int = Field(ge=1)
    mean: tuple[float, float, float]
    std: tuple[float, float, float]


class Backbone(Model):
    """The weights: their source, licence and, of the file they were read from, the SHA-256.

    `global_encoder` takes the place of the unmasked pass; None: f_global comes from the masked autoencoder.
    """

    config: BackboneConfig
    source: str
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    licence: str
    global_encoder: GlobalEncoder | None = None

    @model_serializer(mode="wrap")
    def _without_absent(self, serialise: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out an encoder that is not there: manifests and caches of the paper's method keep their bytes."""
        return {key: value for key, value in serialise(self).items() if key != "global_encoder" or value is not None}

    @property
    def dim(self) -> int:
        """D: values of f_global."""
        return self.global_encoder.dim if self.global_encoder else self.config.encoder_dim

    @property
    def joint_licence(self) -> str:
        """Licence of a file that holds all the weights: the stricter of both, or both where neither is permissive."""
        both = dict.fromkeys([self.licence, *([self.global_encoder.licence] if self.global_encoder else [])])
        return " AND ".join([name for name in both if name.lower() not in PERMISSIVE] or both)


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
    """Everything about a checkpoint or an engine but its weights. `licence` is that of the engine's weights."""

    schema_version: Literal[1] = SCHEMA_VERSION
    name: str
    kind: Literal["checkpoint", "fused", "encoder", "decoder", "head"]
    precision: Precision = "fp32"
    demonstration: bool = False
    method: MethodConfig
    head: HeadConfig
    preprocess: Preprocess = Preprocess()
    backbone: Backbone
    masks: Masks
    calibration: Calibration = Calibration()
    stat_ranges: dict[Statistic, StatRange] = Field(default_factory=dict)
    heatmap_range: StatRange | None = None
    training: Training = Training()
    metrics: dict[str, dict[str, float]] = Field(default_factory=dict)
    golden: Golden | None = None
    licence: str = UNKNOWN_LICENCE
    tools: dict[str, str] = Field(default_factory=dict)
    content_sha256: str = Field("0" * 64, pattern=r"^[0-9a-f]{64}$")
    external_data: dict[str, str] = Field(default_factory=dict)

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

    @property
    def label(self) -> str:
        """How records name an engine: `name@short hash`, marked when it is a demonstration."""
        label = f"{self.name}@{self.content_sha256[:SHORT_HASH]}"
        return f"{label} (demonstration)" if self.demonstration else label

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
