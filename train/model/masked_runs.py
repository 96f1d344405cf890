"""The unmasked pass of a batch, and all masked runs in one encoder pass and one decoder pass; nothing computed unread.

Runs in: the feature cache and the studies. The same numbers, up to rounding, as `MaskedAutoencoder.reconstruct` run by
run, which `CinemaeDetector` calls and which stays the plain reading; `export/graph/packed.py` goes further for exported
graphs, whose shapes and masks are constants. What is shared or skipped:

- the runs of an image share its patch embedding;
- decoder: tokens stand as [CLS, visible, masked] (attention does not care about order), so nothing is scattered;
- last decoder block: attention output, MLP and prediction of the masked patches only;
- last encoder block of the unmasked pass: the same of CLS only, where f_global is CLS.

Shapes: B images, R runs, N patches, V visible and M masked in a run, D and E widths, n = patch_size**2 pixels a patch.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import linear, scaled_dot_product_attention

from ...runtime.core.manifest import GlobalFeature
from .mae import MaskedAutoencoder, global_feature


def predict_masked(mae: MaskedAutoencoder, embedded: Tensor, visible: Tensor, masked: Tensor) -> Tensor:
    """Reconstruct the masked patches of every run from its visible ones.

    Args:
        mae: encoder and decoder.
        embedded: output of `MaskedAutoencoder.embed`, float [B, N, D].
        visible: int64 [R, V].
        masked: int64 [R, M], the other patches of each run.

    Returns:
        ImageNet-normalised pixels, float32 [B, R, M, 3, n]: the values of a channel lie together. The prediction layer
        runs in float32 under any autocast, because LCAS squares its output.

    Raises:
        WeightsError: the model is an encoder alone.
    """
    mae.require_decoder()
    b, (r, v) = len(embedded), visible.shape
    tokens = mae.encode_embedded(embedded[:, visible].flatten(0, 1))
    position = mae.decoder_pos_embed[0]
    seen = torch.cat([position[:1].expand(r, -1, -1), position[1:][visible]], dim=1)
    hidden = mae.mask_token[0] + position[1:][masked]
    seen = mae.decoder_embed(tokens).unflatten(0, (b, r)) + seen
    x = torch.cat([seen, hidden.expand(b, -1, -1, -1)], dim=2).flatten(0, 1)
    for block in mae.decoder_blocks[:-1]:
        x = block(x)
    x = _read(mae.decoder_blocks[-1], x, slice(1 + v, None))
    weight, bias = (p.unflatten(0, (-1, 3)).transpose(0, 1).flatten(0, 1) for p in mae.decoder_pred.parameters())
    with torch.autocast(x.device.type, enabled=False):
        return linear(mae.decoder_norm(x.float()), weight, bias).view(b, r, -1, 3, weight.shape[0] // 3)


def encode_global(mae: MaskedAutoencoder, embedded: Tensor, kind: GlobalFeature) -> Tensor:
    """The feature of the unmasked pass [Eq. 3], from the output of `MaskedAutoencoder.embed`: [B, N, D] -> [B, D]."""
    if kind != "cls":
        return global_feature(mae.encode_embedded(embedded), kind)
    x = mae.with_cls(embedded)
    for block in mae.blocks[:-1]:
        x = block(x)
    return mae.norm(_read(mae.blocks[-1], x, slice(0, 1)))[:, 0]


def _read(block: Any, x: Tensor, tokens: slice) -> Tensor:
    """What timm's `block` makes of [B, T, E], of the t `tokens` that are read alone: [B, t, E]."""
    attention = block.attn
    qkv = attention.qkv(block.norm1(x)).unflatten(2, (3, attention.num_heads, -1))
    q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)
    attended = scaled_dot_product_attention(q[:, :, tokens], k, v).transpose(1, 2).flatten(2)
    x = x[:, tokens] + attention.proj(attended)
    return x + block.mlp(block.norm2(x))
