"""Backbone weights from every published masked-autoencoder layout: FAIR, Hugging Face, timm, and our own files.

The shapes of the tensors decide most of the configuration. Two fields need a rule: LayerNorm's eps is 1e-6 in FAIR's
and timm's files, and in Hugging Face's what config.json says (1e-12 in the published ones). The number of attention
heads, where no configuration states it, is that of the preset with the same width and depth, else one head for every 64
channels of the encoder and every 32 of the decoder, as in ViT-B and ViT-L.
"""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from torch import Tensor

from ...runtime.core.errors import WeightsError
from ...runtime.core.manifest import CC_BY_NC, UNKNOWN_LICENCE, Backbone, BackboneConfig
from ..model.mae import MaskedAutoencoder
from ..model.presets import PRESETS
from . import files as files
from . import key_layouts as layouts
from .files import BACKBONE_KEY, LICENCE_KEY
from .locate import WeightsFiles, locate, read_json

log = logging.getLogger("cinemae.train")

FAIR_EPS, HUGGING_FACE_EPS = 1e-6, 1e-12
ENCODER_HEAD_WIDTH, DECODER_HEAD_WIDTH = 64, 32
PUBLISHED = re.compile(
    r"(?:^|[/\\])(?:mae_(?:visualize|pretrain)_vit_(?:base|large|huge)\w*\.\w+|vit-mae-(?:base|large|huge)(?:[/\\].*)?"
    r"|vit_(?:base|large|huge)_patch1[46]_224\.mae(?:[/\\].*)?)$"
)
"""Names under which FAIR's weights are published, by FAIR, Hugging Face and timm."""


@dataclass(frozen=True)
class LoadedBackbone:
    """A masked autoencoder and its origin.

    Attributes:
        mae: float32 on the CPU, in eval mode, frozen; without a decoder where none was asked for.
        info: configuration, source, hash and licence, for the manifest.
    """

    mae: MaskedAutoencoder
    info: Backbone


def load_backbone(source: str | Path, *, decoder: bool = True, allow_normalised_target: bool = False) -> LoadedBackbone:
    """Load a masked autoencoder.

    Args:
        source: a FAIR `.pth`; a Hugging Face folder, file or hub id; a timm `vit_*.mae` name, folder or file; our own
            `backbone.safetensors` or the folder that holds it.
        decoder: load the decoder, which LCAS needs; False loads the encoder alone, enough for f_global.
        allow_normalised_target: accept a decoder that predicts per-patch-normalised pixels.

    Raises:
        WeightsError: the weights are not found, damaged, hold code or belong to another model; a key is missing or left
            over; there is no decoder, or it predicts per-patch-normalised pixels.
    """
    found = locate(source)
    raw = files.read(found)
    beside = read_json(found.config) if found.config else {}
    is_hf = layouts.is_hugging_face(raw.tensors)
    if is_hf:
        check_hugging_face(beside, found.name)
    tensors = layouts.to_fair(raw.tensors, found.name)
    if not decoder:
        tensors = {key: value for key, value in tensors.items() if not layouts.is_decoder(key)}
    elif not any(map(layouts.is_decoder, tensors)):
        raise WeightsError(
            f"{found.name}: holds an encoder only, and LCAS compares a decoder's reconstruction with the image; use "
            "mae_visualize_vit_{base,large,huge}.pth or facebook/vit-mae-{base,large,huge}, which hold both "
            "(an encoder alone serves the f_global baseline)"
        )
    elif not allow_normalised_target:
        refuse_normalised_target(found, raw.metadata, beside)
    eps = HUGGING_FACE_EPS if is_hf else FAIR_EPS
    config = infer_config(tensors, raw.metadata, beside if is_hf else {}, eps, found.name)
    licence = licence_of(found, raw.metadata, beside)
    info = Backbone(config=config, source=str(source), sha256=files.sha256(found.files), licence=licence)
    return LoadedBackbone(build(config, tensors, found.name), info)


def check_hugging_face(config: dict[str, Any], name: str) -> None:
    """Refuse a config.json whose model type or activation this model does not implement.

    Raises:
        WeightsError: another model type or activation.
    """
    kind, activation = config.get("model_type", "vit_mae"), config.get("hidden_act", "gelu")
    if kind != "vit_mae":
        raise WeightsError(f"{name}: config.json says model_type {kind!r}; only vit_mae is a masked autoencoder")
    if activation != "gelu":
        raise WeightsError(f"{name}: config.json says hidden_act {activation!r}; only gelu is implemented")


def refuse_normalised_target(found: WeightsFiles, metadata: dict[str, Any], beside: dict[str, Any]) -> None:
    """Refuse weights trained with `norm_pix_loss`, which a recorded option or FAIR's file name (`*_full`) tells.

    Raises:
        WeightsError: the decoder predicts per-patch-normalised pixels.
    """
    recorded = [origin.get("norm_pix_loss") for origin in (metadata, beside)]
    named = [file.name for file in found.files if file.stem.endswith("_full")]
    if not named and not any(value in (True, "true", "True") for value in recorded):
        return
    why = f"its name ({named[0]}) is FAIR's for them" if named else "norm_pix_loss is set"
    raise WeightsError(
        f"{found.name}: predicts pixels normalised patch by patch ({why}), and LCAS needs real ones: each patch's mean "
        "and contrast are lost. Use mae_visualize_vit_{base,large,huge}.pth or facebook/vit-mae-{base,large,huge}; in "
        "Python, allow_normalised_target=True loads it all the same"
    )


def licence_of(found: WeightsFiles, metadata: dict[str, Any], beside: dict[str, Any]) -> str:
    """Licence of the weights: CC-BY-NC-4.0 for FAIR's by their name, else as metadata or configuration state it."""
    if PUBLISHED.search(found.name) or any(PUBLISHED.search(file.name) for file in found.files):
        return CC_BY_NC
    nested = beside.get("pretrained_cfg")
    timm = nested.get("license") if isinstance(nested, dict) else None
    stated = metadata.get(LICENCE_KEY) or beside.get("license") or timm
    if not isinstance(stated, str) or not stated:
        return UNKNOWN_LICENCE
    return CC_BY_NC if stated.lower() == CC_BY_NC.lower() else stated


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
    shapes = layouts.shapes_of(tensors, name)
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


HF_SHAPES = {
    "image_size": "image_size", "patch_size": "patch_size",
    "encoder_dim": "hidden_size", "encoder_depth": "num_hidden_layers",
    "decoder_dim": "decoder_hidden_size", "decoder_depth": "decoder_num_hidden_layers",
}


def preset_name(config: BackboneConfig) -> str:
    """Name of the preset with this shape, else "custom"; eps and an absent decoder are not compared."""
    ignored = {"name", "norm_eps"}
    if not config.decoder_depth:
        ignored |= {"decoder_dim", "decoder_depth", "decoder_heads"}
    same = (p for p in PRESETS.values() if p.model_dump(exclude=ignored) == config.model_dump(exclude=ignored))
    return next((preset.name for preset in same), "custom")


HEADS = (
    ("encoder", "num_attention_heads", ENCODER_HEAD_WIDTH),
    ("decoder", "decoder_num_attention_heads", DECODER_HEAD_WIDTH),
)
"""Side, the name of its number of heads in Hugging Face's configuration, and the usual width of a head."""


def heads_of(shapes: dict[str, int | float], hf: dict[str, Any], name: str) -> dict[str, int]:
    """Find `encoder_heads` and `decoder_heads`: as stated, of the preset with these shapes, or by convention (logged).

    Raises:
        WeightsError: no rule applies, because the width is no multiple of a head's usual width.
    """
    result = {}
    for side, stated, width in HEADS:
        dim, blocks = shapes[f"{side}_dim"], shapes[f"{side}_depth"]
        if not blocks:
            result[f"{side}_heads"] = 0
            continue
        presets = (config.model_dump() for config in PRESETS.values())
        same = (p for p in presets if (p[f"{side}_dim"], p[f"{side}_depth"]) == (dim, blocks))
        preset = next((p[f"{side}_heads"] for p in same), None)
        heads, rest = divmod(int(dim), width)
        if stated not in hf and not preset:
            if rest:
                raise WeightsError(
                    f"{name}: nothing states the number of {side} heads, and the {side}'s width {dim} is no multiple "
                    f"of {width}, the usual width of a head; put Hugging Face's config.json beside the weights, or "
                    "write them with cinemae.train.weights.save.save_backbone, which states it"
                )
            log.warning("%s: the number of %s heads is not stated; taking %d of width %d", name, side, heads, width)
        result[f"{side}_heads"] = hf.get(stated) or preset or heads
    return result


def build(config: BackboneConfig, tensors: dict[str, Tensor], name: str) -> MaskedAutoencoder:
    """Build the model with exactly these tensors as its float32 parameters, without initialising it first.

    Args:
        config: shape of the model.
        tensors: in FAIR's layout; emptied on the way, so that only one copy stays in memory.
        name: of the source, for error messages.

    Raises:
        WeightsError: a key is missing or left over, a tensor has another shape, or values are not finite.
    """
    with torch.device("meta"):
        model = MaskedAutoencoder(config)
    expected = {key: tuple(value.shape) for key, value in model.state_dict().items()}
    missing, left_over = expected.keys() - tensors.keys(), tensors.keys() - expected.keys()
    if missing or left_over:
        problems = [f"missing: {layouts.shorten(missing)}"] * bool(missing)
        problems += [f"not used: {layouts.shorten(left_over)}"] * bool(left_over)
        raise WeightsError(
            f"{name}: the keys do not match a masked autoencoder ({'; '.join(problems)}); download it again, or check "
            "which model it is"
        )
    shapes = [(key, list(tensors[key].shape), list(shape)) for key, shape in expected.items()]
    wrong = [f"{key} {found} instead of {shape}" for key, found, shape in shapes if found != shape]
    if wrong:
        raise WeightsError(f"{name}: tensors of the wrong shape ({'; '.join(wrong[:3])}); the file mixes two models")
    state: dict[str, Tensor] = {}
    for key in expected:  # one at a time: what comes memory-mapped from the file is copied, then let go
        state[key] = tensors.pop(key).to(torch.float32, copy=True).contiguous()
        if not state[key].isfinite().all():
            raise WeightsError(f"{name}: {key} is not finite: the file is damaged or its training diverged")
    model.load_state_dict(state, strict=True, assign=True)
    return model.requires_grad_(False).eval()
