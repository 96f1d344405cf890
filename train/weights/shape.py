"""The shape of a masked autoencoder, from its tensors in FAIR's layout and the configuration beside them.

The shapes of the tensors decide most of it. Two fields need a rule: LayerNorm's eps is 1e-6 in FAIR's and timm's files,
and in Hugging Face's what config.json says (1e-12 in the published ones). The number of attention heads, where no
configuration states it, is that of the preset with the same width and depth, else one head for every 64 channels of the
encoder and every 32 of the decoder, as in ViT-B and ViT-L.
"""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Iterable
from typing import Any

from pydantic import ValidationError
from torch import Tensor

from ...runtime.core.errors import WeightsError
from ...runtime.core.manifest import BackboneConfig
from ..model.presets import PRESETS
from .files import BACKBONE_KEY
from .key_layouts import is_decoder

log = logging.getLogger("cinemae.train")

FAIR_EPS, HUGGING_FACE_EPS = 1e-6, 1e-12
HF_SHAPES = {
    "image_size": "image_size", "patch_size": "patch_size",
    "encoder_dim": "hidden_size", "encoder_depth": "num_hidden_layers",
    "decoder_dim": "decoder_hidden_size", "decoder_depth": "decoder_num_hidden_layers",
}
HEADS = (("encoder", "num_attention_heads", 64), ("decoder", "decoder_num_attention_heads", 32))
"""Side, the name of its number of heads in Hugging Face's configuration, and the usual width of a head."""


def shapes_of(tensors: dict[str, Tensor], name: str) -> dict[str, int | float]:
    """Infer the fields of `BackboneConfig` that the shapes of tensors in FAIR's layout decide.

    Returns:
        field to value; the decoder's are 0 where there is no decoder.

    Raises:
        WeightsError: the tensors that decide are absent, or their shapes do not fit a masked autoencoder.
    """

    def shape(key: str, dims: int) -> tuple[int, ...]:
        if key not in tensors:
            raise WeightsError(f"{name}: {key} is missing, so this is no masked autoencoder, or an incomplete one")
        found = tuple(tensors[key].shape)
        if len(found) != dims or 0 in found:
            raise WeightsError(f"{name}: {key} has shape {list(found)}, expected {dims} dimensions")
        return found

    dim, channels, patch, patch_width = shape("patch_embed.proj.weight", 4)
    if channels != 3 or patch != patch_width:
        raise WeightsError(f"{name}: patches are {patch} x {patch_width} x {channels}; needed: square, 3 channels")
    patches = shape("pos_embed", 3)[1] - 1
    grid = math.isqrt(max(patches, 0))
    if patches < 1 or grid * grid != patches:
        raise WeightsError(f"{name}: pos_embed is for {patches} patches, which is no square grid with one CLS token")
    has_decoder = any(map(is_decoder, tensors))
    return {
        "image_size": grid * patch,
        "patch_size": patch,
        "encoder_dim": dim,
        "encoder_depth": depth(tensors, "blocks"),
        "decoder_dim": shape("decoder_embed.weight", 2)[0] if has_decoder else 0,
        "decoder_depth": depth(tensors, "decoder_blocks") if has_decoder else 0,
        "mlp_ratio": shape("blocks.0.mlp.fc1.weight", 2)[0] / dim,
    }


def depth(tensors: Iterable[str], side: str) -> int:
    """Number of blocks of `side` ("blocks" or "decoder_blocks"): one more than the highest index."""
    found = [int(match[1]) for key in tensors if (match := re.match(rf"{side}\.(\d+)\.", key))]
    return max(found, default=-1) + 1


def infer_config(
    tensors: dict[str, Tensor], metadata: dict[str, Any], hf: dict[str, Any], eps: float, name: str
) -> BackboneConfig:
    """Infer the model's shape from the tensors, eps and heads from the configuration beside them or by convention.

    Args:
        tensors: in FAIR's layout.
        metadata: of the file; our own files keep their configuration there.
        hf: Hugging Face's config.json, or empty.
        eps: of LayerNorm, where no configuration states it.
        name: of the source, for error messages.

    Raises:
        WeightsError: shapes that fit no model, or that contradict the configuration.
    """
    shapes = shapes_of(tensors, name)
    try:
        if BACKBONE_KEY in metadata:
            config = BackboneConfig.model_validate_json(metadata[BACKBONE_KEY])
            if not shapes["decoder_depth"]:
                config = config.model_copy(update={"decoder_dim": 0, "decoder_depth": 0, "decoder_heads": 0})
        else:
            eps = float(hf.get("layer_norm_eps", eps))
            config = BackboneConfig.model_validate({**shapes, **heads_of(shapes, hf, name), "norm_eps": eps})
            config = config.model_copy(update={"name": preset_name(config)})
    except (ValidationError, TypeError, ValueError) as error:
        raise WeightsError(f"{name}: the shapes or the configuration fit no masked autoencoder ({error})") from None
    stated = config.model_dump() | {field: hf[key] for field, key in HF_SHAPES.items() if key in hf}
    compared = [field for field in shapes if shapes["decoder_depth"] or not field.startswith("decoder_")]
    wrong = "; ".join(f"{f} is {shapes[f]}, stated {stated[f]}" for f in compared if shapes[f] != stated[f])
    if wrong:
        raise WeightsError(f"{name}: the weights contradict their configuration ({wrong}); use the two of one model")
    return config


def preset_name(config: BackboneConfig) -> str:
    """Name of the preset with this shape, else "custom"; eps and an absent decoder are not compared."""
    ignored = {"name", "norm_eps"}
    if not config.decoder_depth:
        ignored |= {"decoder_dim", "decoder_depth", "decoder_heads"}
    same = (p for p in PRESETS.values() if p.model_dump(exclude=ignored) == config.model_dump(exclude=ignored))
    return next((preset.name for preset in same), "custom")


def heads_of(shapes: dict[str, int | float], hf: dict[str, Any], name: str) -> dict[str, int]:
    """Find `encoder_heads` and `decoder_heads`: as stated, of the preset with these shapes, or by convention (logged).

    Raises:
        WeightsError: no rule applies, because the width is no multiple of a head's usual width.
    """
    heads = {}
    for side, stated, width in HEADS:
        dim, blocks = int(shapes[f"{side}_dim"]), shapes[f"{side}_depth"]
        presets = (config.model_dump() for config in PRESETS.values())
        same = (p[f"{side}_heads"] for p in presets if (p[f"{side}_dim"], p[f"{side}_depth"]) == (dim, blocks))
        found = (hf.get(stated) or next(same, None)) if blocks else 0
        if found is None:
            if dim % width:
                raise WeightsError(
                    f"{name}: nothing states the number of {side} heads, and the {side}'s width {dim} is no multiple "
                    f"of {width}, the usual width of a head; put Hugging Face's config.json beside the weights, or "
                    "write them with cinemae.train.weights.save.save_backbone, which states it"
                )
            found = dim // width
            log.warning("%s: the number of %s heads is not stated; taking %d of width %d", name, side, found, width)
        heads[f"{side}_heads"] = found
    return heads
