"""Key layouts of published masked autoencoders, translated into FAIR's names.

FAIR and timm agree: `blocks.N.attn.qkv` fused. Hugging Face has three spellings: the published files
(`vit.encoder.layer.N.attention.attention.query`), the module names of transformers 5 (`vit.layers.N.attention.q_proj`),
and what its `save_pretrained` writes (as published, but `decoder.decoder_encoder.layer.N` in the decoder).
"""

from __future__ import annotations

import re
from collections.abc import Iterable

import torch
from torch import Tensor

from ...runtime.core.errors import WeightsError

IGNORED = frozenset({"head.weight", "head.bias"})
"""A classifier on top of timm's encoder: never used here, so leaving it out changes nothing."""

WRAPPERS = ("module.", "_orig_mod.")
"""Prefixes of torch's DistributedDataParallel and torch.compile."""

DECODER_PREFIXES = ("mask_token", "decoder_")

_HF_BLOCK = re.compile(
    r"(?:(?P<encoder>vit\.encoder\.layer|vit\.layers)|decoder\.decoder_layers|decoder\.decoder_encoder\.layer)"
    r"\.(?P<index>\d+)\.(?P<inner>.+)\.(?P<kind>weight|bias)"
)
_HF_INNER = {
    "layernorm_before": "norm1",
    "layernorm_after": "norm2",
    "attention.attention.query": "attn.q",
    "attention.attention.key": "attn.k",
    "attention.attention.value": "attn.v",
    "attention.q_proj": "attn.q",
    "attention.k_proj": "attn.k",
    "attention.v_proj": "attn.v",
    "attention.output.dense": "attn.proj",
    "attention.o_proj": "attn.proj",
    "intermediate.dense": "mlp.fc1",
    "output.dense": "mlp.fc2",
    "mlp.fc1": "mlp.fc1",
    "mlp.fc2": "mlp.fc2",
}
_HF_OUTER = {
    "vit.embeddings.cls_token": "cls_token",
    "vit.embeddings.position_embeddings": "pos_embed",
    "vit.embeddings.patch_embeddings.projection.weight": "patch_embed.proj.weight",
    "vit.embeddings.patch_embeddings.projection.bias": "patch_embed.proj.bias",
    "vit.layernorm.weight": "norm.weight",
    "vit.layernorm.bias": "norm.bias",
    "decoder.mask_token": "mask_token",
    "decoder.decoder_pos_embed": "decoder_pos_embed",
    "decoder.decoder_embed.weight": "decoder_embed.weight",
    "decoder.decoder_embed.bias": "decoder_embed.bias",
    "decoder.decoder_norm.weight": "decoder_norm.weight",
    "decoder.decoder_norm.bias": "decoder_norm.bias",
    "decoder.decoder_pred.weight": "decoder_pred.weight",
    "decoder.decoder_pred.bias": "decoder_pred.bias",
}


def shorten(keys: Iterable[str], most: int = 4) -> str:
    """The first few keys in order, and how many more there are."""
    names = sorted(keys)
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def unwrapped(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors without prefixes that all keys share because a model was saved inside a wrapper (`WRAPPERS`)."""
    for prefix in WRAPPERS:
        if tensors and all(key.startswith(prefix) for key in tensors):
            return unwrapped({key.removeprefix(prefix): value for key, value in tensors.items()})
    return tensors


def is_hugging_face(keys: Iterable[str]) -> bool:
    """Whether the keys are in one of Hugging Face's layouts (a bare ViTMAEModel has them without the prefix `vit.`)."""
    return any(key.startswith(("vit.", "embeddings.")) for key in keys)


def is_decoder(key: str) -> bool:
    """Whether a key in FAIR's layout belongs to the decoder."""
    return key.startswith(DECODER_PREFIXES)


def to_fair(tensors: dict[str, Tensor], name: str) -> dict[str, Tensor]:
    """Translate any known layout into FAIR's key names, with query, key and value fused.

    Args:
        tensors: as the file has them. Only those in `IGNORED` are left out.
        name: of the source, for error messages.

    Raises:
        WeightsError: a key of no known layout, a tensor given twice, or an incomplete query/key/value.
    """
    if not is_hugging_face(tensors):
        return {key: value for key, value in tensors.items() if key not in IGNORED}
    renamed: dict[str, Tensor] = {}
    unknown = []
    for key, value in tensors.items():
        bare = key.startswith(("embeddings.", "encoder.", "layers.", "layernorm."))
        target = _from_hugging_face(f"vit.{key}" if bare else key)
        if target is None:
            unknown.append(key)
        elif target in renamed:
            raise WeightsError(f"{name}: {target} is there twice, in two key layouts; download it again")
        else:
            renamed[target] = value
    if unknown:
        raise WeightsError(f"{name}: keys that no ViT-MAE has: {shorten(unknown)}; is this another model?")
    return _fuse(renamed, name)


def _from_hugging_face(key: str) -> str | None:
    if key in _HF_OUTER:
        return _HF_OUTER[key]
    match = _HF_BLOCK.fullmatch(key)
    if not match or match["inner"] not in _HF_INNER:
        return None
    side = "blocks" if match["encoder"] else "decoder_blocks"
    return f"{side}.{match['index']}.{_HF_INNER[match['inner']]}.{match['kind']}"


def _fuse(tensors: dict[str, Tensor], name: str) -> dict[str, Tensor]:
    """Stack query, key and value in this order along the output axis, as one tensor `qkv`."""
    fused: dict[str, Tensor] = {}
    for key, value in tensors.items():
        match = re.fullmatch(r"(.+\.attn\.)[qkv](\.\w+)", key)
        if not match:
            fused[key] = value
            continue
        target = f"{match[1]}qkv{match[2]}"
        if target not in fused:
            parts = [f"{match[1]}{letter}{match[2]}" for letter in "qkv"]
            absent = [part for part in parts if part not in tensors]
            if absent:
                raise WeightsError(f"{name}: query, key or value missing: {shorten(absent)}; download it again")
            shapes = {tuple(tensors[part].shape) for part in parts}
            if len(shapes) > 1:
                raise WeightsError(
                    f"{name}: query, key and value of {match[1][:-1]} differ in shape; download it again"
                )
            fused[target] = torch.cat([tensors[part] for part in parts])
    return fused
