"""Masked autoencoder (He et al. 2022), encoder and decoder, on timm's blocks. Masks are arguments, never drawn here.

Parameter names are those of the FAIR files, so that loading one is the identity.
Shapes: B images, N patches, V visible, D encoder width, E decoder width, P = patch_size**2 * 3 values a patch.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ...runtime.core.errors import WeightsError
from ...runtime.core.manifest import BackboneConfig, GlobalFeature


def patchify(images: Tensor, patch_size: int) -> Tensor:
    """Cut images into patches: [B, 3, H, W] -> [B, N, P], values in row, column, channel order inside a patch."""
    b, c, h, w = images.shape
    p = patch_size
    cut = images.reshape(b, c, h // p, p, w // p, p)
    return torch.einsum("nchpwq->nhwpqc", cut).reshape(b, (h // p) * (w // p), p * p * c)


def sincos_position(dim: int, grid: int) -> Tensor:
    """Fixed 2-D sine-cosine position embedding.

    Args:
        dim: width of a token, a multiple of 4.
        grid: patches along one side of the image.

    Returns:
        float32 [1, 1 + grid**2, dim]; the first row, of CLS, is zero.
    """
    omega = 1.0 / 10000 ** (np.arange(dim // 4, dtype=np.float64) / (dim / 4))
    rows, columns = np.meshgrid(np.arange(grid, dtype=np.float64), np.arange(grid, dtype=np.float64), indexing="ij")
    parts = [fn(np.outer(axis.ravel(), omega)) for axis in (columns, rows) for fn in (np.sin, np.cos)]
    table = np.concatenate([np.zeros((1, dim)), np.concatenate(parts, axis=1)])
    return torch.from_numpy(table).float()[None]


class PatchEmbed(nn.Module):
    """Linear embedding of patches, stored as a convolution as in the published files."""

    def __init__(self, config: BackboneConfig) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, config.encoder_dim, config.patch_size, stride=config.patch_size)

    def forward(self, images: Tensor) -> Tensor:
        """Normalised images [B, 3, H, W] -> patch embeddings [B, N, D]."""
        return self.proj(images).flatten(2).transpose(1, 2)


class MaskedAutoencoder(nn.Module):
    """Encoder and decoder.

    `keep` names the visible patches: int64 [V], one mask for the whole batch, or [B, V], one for each image; None keeps
    all patches. A configuration with `decoder_depth` 0 is an encoder alone: `encode` works, `decode` raises
    WeightsError.

    Args:
        config: shape of the model.
    """

    def __init__(self, config: BackboneConfig) -> None:
        from timm.models.vision_transformer import Block  # here: it takes seconds, and many commands build no model

        super().__init__()
        self.config = config
        norm: Any = partial(nn.LayerNorm, eps=config.norm_eps)
        n, d, e = config.n_patches, config.encoder_dim, config.decoder_dim

        def blocks(dim: int, depth: int, heads: int) -> nn.ModuleList:
            return nn.ModuleList(
                Block(dim, heads, config.mlp_ratio, qkv_bias=True, norm_layer=norm) for _ in range(depth)
            )

        self.patch_embed = PatchEmbed(config)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, d))
        self.pos_embed = nn.Parameter(sincos_position(d, config.grid), requires_grad=False)
        self.blocks = blocks(d, config.encoder_depth, config.encoder_heads)
        self.norm = norm(d)
        assert self.pos_embed.shape == (1, 1 + n, d)
        if not config.decoder_depth:
            self.initialise()
            return

        self.decoder_embed = nn.Linear(d, e)
        self.mask_token = nn.Parameter(torch.zeros(1, 1, e))
        self.decoder_pos_embed = nn.Parameter(sincos_position(e, config.grid), requires_grad=False)
        self.decoder_blocks = blocks(e, config.decoder_depth, config.decoder_heads)
        self.decoder_norm = norm(e)
        self.decoder_pred = nn.Linear(e, config.patch_values)
        self.initialise()

    def initialise(self) -> None:
        """Initialise as the reference does: xavier-uniform linears, zero biases, tokens normal with std 0.02."""
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)
        weight = self.patch_embed.proj.weight
        nn.init.xavier_uniform_(weight.data.view(weight.shape[0], -1))
        nn.init.normal_(self.cls_token, std=0.02)
        if self.config.decoder_depth:
            nn.init.normal_(self.mask_token, std=0.02)

    def embed(self, images: Tensor) -> Tensor:
        """Normalised images [B, 3, H, W] -> positioned patch embeddings [B, N, D]."""
        return self.patch_embed(images) + self.pos_embed[:, 1:]

    def encode(self, images: Tensor, keep: Tensor | None = None) -> Tensor:
        """Normalised images [B, 3, H, W] -> tokens after the final norm [B, 1 + T, D], CLS first; T is N or V."""
        return self.encode_embedded(self.embed(images), keep)

    def encode_embedded(self, x: Tensor, keep: Tensor | None = None) -> Tensor:
        """Encode from `embed`'s output [B, N, D], so that several masked passes share one embedding.

        Returns:
            tokens after the final norm [B, 1 + T, D], CLS first; T is N or V.
        """
        if keep is not None:
            x = gather(x, keep)
        x = self.with_cls(x)
        for block in self.blocks:
            x = block(x)
        return self.norm(x)

    def with_cls(self, x: Tensor) -> Tensor:
        """Put the CLS token before patch embeddings: [B, T, D] -> [B, 1 + T, D]."""
        cls = (self.cls_token + self.pos_embed[:, :1]).expand(x.shape[0], -1, -1)
        return torch.cat([cls, x], dim=1)

    def decode(self, tokens: Tensor, keep: Tensor) -> Tensor:
        """Reconstruct all patches from the visible ones.

        Args:
            tokens: output of `encode` for the patches in `keep`, float [B, 1 + V, D].
            keep: int64 [V] or [B, V].

        Returns:
            ImageNet-normalised pixels, float [B, N, P].

        Raises:
            WeightsError: the model is an encoder alone.
        """
        self.require_decoder()
        x = self.decoder_embed(tokens)
        b, n, e = x.shape[0], self.config.n_patches, x.shape[2]
        index = keep.expand(b, -1)[:, :, None].expand(-1, -1, e)
        patches = self.mask_token.to(x.dtype).expand(b, n, e).scatter(1, index, x[:, 1:])
        x = torch.cat([x[:, :1], patches], dim=1) + self.decoder_pos_embed
        for block in self.decoder_blocks:
            x = block(x)
        return self.decoder_pred(self.decoder_norm(x))[:, 1:]

    def require_decoder(self) -> None:
        """Check that the model can reconstruct.

        Raises:
            WeightsError: it is an encoder alone.
        """
        if not self.config.decoder_depth:
            raise WeightsError("this backbone has no decoder, so it cannot reconstruct; load weights that hold one")

    def reconstruct(self, images: Tensor, keep: Tensor) -> Tensor:
        """Normalised images [B, 3, H, W] -> all patches [B, N, P], reconstructed from those in `keep` alone."""
        return self.decode(self.encode(images, keep), keep)


def global_feature(tokens: Tensor, kind: GlobalFeature) -> Tensor:
    """The image's feature [Eq. 3] from the unmasked pass's tokens: [B, 1 + N, D] -> CLS or the patches' mean [B, D]."""
    return tokens[:, 0] if kind == "cls" else tokens[:, 1:].mean(dim=1)


def gather(x: Tensor, keep: Tensor) -> Tensor:
    """Pick tokens: [B, N, D], int64 [V] or [B, V] -> [B, V, D]."""
    if keep.dim() == 1:
        return x[:, keep]
    return x.gather(1, keep[:, :, None].expand(-1, -1, x.shape[2]))
