"""The pieces of a transformer block that the packed graph is made of: product, LayerNorm, attention, block.

B images, D width of the tokens.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

Qkv = tuple[Tensor, Tensor, Tensor]
"""Queries, keys and values."""


class Dense(nn.Module):
    """x @ weight + bias with the weight stored [in, out], as MatMul wants it; matrix work in `dtype`."""

    def __init__(self, weight: Tensor, bias: Tensor, dtype: torch.dtype) -> None:
        """Store the transpose of `weight` [out, in] (a view where the type allows), and `bias`, [out] or [S, out]."""
        super().__init__()
        self.weight = nn.Parameter(weight.detach().t().to(dtype), requires_grad=False)
        self.bias = nn.Parameter(bias.detach().to(dtype), requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        """[rows, in] or [B, S, in] in any float type -> [rows, out] or [B, S, out] in `dtype`."""
        return x.to(self.weight.dtype) @ self.weight + self.bias


class Norm(nn.Module):
    """LayerNorm in float32, whatever the type of the input; the result is float32."""

    def __init__(self, norm: nn.LayerNorm) -> None:
        super().__init__()
        self.norm = copy.deepcopy(norm).float()

    def forward(self, x: Tensor) -> Tensor:
        """[..., dim] -> float32 [..., dim]."""
        return self.norm(x.float())


def attend(qkv: Qkv, heads: int, width: int, queries: int, keys: int) -> Tensor:
    """Softmax attention with the softmax in float32; the scale is already in q's weights.

    Args:
        qkv: q [B queries, D] or [B, queries, D]; k and v [B keys, D] or [B, keys, D].
        heads: number of heads.
        width: values a head, D / heads.
        queries: number of queries.
        keys: number of keys.

    Returns:
        [B, queries, D].
    """
    q, k, v = qkv
    q = q.reshape(-1, queries, heads, width).transpose(1, 2)
    k = k.reshape(-1, keys, heads, width).permute(0, 2, 3, 1)
    v = v.reshape(-1, keys, heads, width).transpose(1, 2)
    weights = (q @ k).float().softmax(dim=-1).to(v.dtype)
    return (weights @ v).transpose(1, 2).reshape(-1, queries, heads * width)


class PackedBlock(nn.Module):
    """One pre-norm transformer block in pieces, so that each token passes only the pieces whose output is read."""

    def __init__(self, block: Any, dtype: torch.dtype) -> None:
        """Split the fused QKV of timm's `Block` (whose submodules are untyped) and scale q."""
        super().__init__()
        attention = block.attn
        self.dim, self.heads = attention.proj.weight.shape[0], attention.num_heads
        dim = self.dim
        weight, bias = attention.qkv.weight.detach(), attention.qkv.bias.detach()
        scale = float(dim // self.heads) ** -0.5
        self.norm1, self.norm2 = Norm(block.norm1), Norm(block.norm2)
        self.q = Dense(weight[:dim] * scale, bias[:dim] * scale, dtype)
        self.k = Dense(weight[dim : 2 * dim], bias[dim : 2 * dim], dtype)
        self.v = Dense(weight[2 * dim :], bias[2 * dim :], dtype)
        self.proj = Dense(attention.proj.weight, attention.proj.bias, dtype)
        self.fc1 = Dense(block.mlp.fc1.weight, block.mlp.fc1.bias, dtype)
        self.fc2 = Dense(block.mlp.fc2.weight, block.mlp.fc2.bias, dtype)

    def qkv(self, x: Tensor) -> Qkv:
        """[rows, D] -> queries, keys and values [rows, D] after the first LayerNorm."""
        y = self.norm1(x)
        return self.q(y), self.k(y), self.v(y)

    def finish(self, x: Tensor, attended: Tensor) -> Tensor:
        """Residual stream [rows, D] and attention output [B, S, D] -> the block's output [rows, D]."""
        x = x + self.proj(attended.reshape(-1, self.dim))
        return x + self.fc2(nn.functional.gelu(self.fc1(self.norm2(x))))
