"""Backbone weights from every published masked-autoencoder layout: FAIR, Hugging Face, timm, and our own files."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ...runtime.core.errors import WeightsError
from ...runtime.core.manifest import CC_BY_NC, UNKNOWN_LICENCE, Backbone, BackboneConfig
from ..model.mae import MaskedAutoencoder
from . import files
from .key_layouts import is_decoder, is_hugging_face, shorten, to_fair, unwrapped
from .locate import WeightsFiles, locate, read_json
from .shape import FAIR_EPS, HUGGING_FACE_EPS, infer_config

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
    bare = unwrapped(raw.tensors)
    is_hf = is_hugging_face(bare)
    if is_hf:
        check_hugging_face(beside, found.name)
    tensors = to_fair(bare, found.name)
    if not decoder:
        tensors = {key: value for key, value in tensors.items() if not is_decoder(key)}
    elif not any(map(is_decoder, tensors)):
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
    stated = metadata.get(files.LICENCE_KEY) or beside.get("license") or timm
    if not isinstance(stated, str) or not stated:
        return UNKNOWN_LICENCE
    return CC_BY_NC if stated.lower() == CC_BY_NC.lower() else stated


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
        problems = [f"missing: {shorten(missing)}"] * bool(missing)
        problems += [f"not used: {shorten(left_over)}"] * bool(left_over)
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
