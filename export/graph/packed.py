"""The packed graph: the whole detector as one token sequence. Values that no layer reads are not computed.

Exact with respect to `CinemaeDetector` up to float32 rounding. What is shared, skipped or constant:

- the full pass and the K masked passes are one sequence of T = (N + 1) + K (V + 1) tokens: weights are read once;
- first encoder block: LayerNorm and QKV of a token are the same in every pass, so they are computed once and gathered;
- last encoder block: where f_global is CLS, queries, projection and MLP skip the patches of the full pass;
- decoder: tokens stand as [CLS, visible, masked] (attention does not care about order), so nothing is scattered;
- first decoder block: LayerNorm and QKV of the mask tokens depend on their position alone and are constants;
- last decoder block: queries, projection, MLP and prediction for the masked tokens only.

Shapes: B images, N patches, V visible, M masked, K runs, D encoder width, E decoder width, P values a patch. A run has
V + 1 tokens in the encoder, the full pass N + 1.
Sizes come from the configuration, never from tensors, so that the traced graph holds no shape arithmetic;
constants join a batch by multiplying them with a `unit` of ones, float [B, 1, 1]. Between attentions tokens are the
rows of one matrix [B S, D]: a product with its bias is then one Gemm.
"""

from __future__ import annotations

import copy

import numpy as np
import torch
from torch import Tensor, nn

from ...train.model.detector import CinemaeDetector, Detection
from ...train.model.mae import global_feature
from .global_branch import PackedGlobal
from .packed_block import Dense, Norm, PackedBlock, Qkv, attend
from .packed_lcas import PackedLcas


def edge_type(dtype: torch.dtype) -> torch.dtype:
    """Type of the first and the last product, of pixels: float32 for bfloat16.

    LCAS divides pixels by a sigma near zero where the image is flat, and bfloat16 rounds them by 1/256. They are 0.3 %
    of ViT-L's work, and halve the drift of the statistics in flat images.
    """
    return torch.float32 if dtype == torch.bfloat16 else dtype


def token_counts(detector: CinemaeDetector) -> tuple[int, int, int]:
    """Tokens of the full pass (N + 1) and of a masked run (V + 1), and the number of runs (K)."""
    config = detector.mae.config
    return config.n_patches + 1, config.n_visible + 1, detector.method.k


class PackedEncoder(nn.Module):
    """Full and masked passes at once: [B, N, P] normalised patches -> (f_global [B, D], tokens [B, K (V + 1), D]).

    Beside a global encoder there is no full pass, and f_global has no values: [B, 0, D].
    """

    rows: Tensor

    def __init__(self, detector: CinemaeDetector, dtype: torch.dtype) -> None:
        super().__init__()
        mae = detector.mae
        self.dtype, self.kind, self.beside = dtype, detector.method.f_global, detector.encoder is not None
        self.full, self.seen, self.runs = token_counts(detector)
        self.dim, self.heads = mae.config.encoder_dim, mae.config.encoder_heads
        self.width = self.dim // self.heads
        kernel = mae.patch_embed.proj.weight.detach().permute(0, 2, 3, 1).flatten(1)
        position = mae.pos_embed.detach()[0]
        convolution = mae.patch_embed.proj
        assert convolution.bias is not None
        self.embed = Dense(kernel, position[1:] + convolution.bias.detach(), edge_type(dtype))
        self.cls = nn.Parameter((mae.cls_token.detach()[0] + position[:1])[None].to(dtype), requires_grad=False)
        self.blocks = nn.ModuleList(PackedBlock(block, dtype) for block in mae.blocks)
        self.norm = Norm(mae.norm)
        visible = detector.visible.cpu().numpy()
        rows = np.concatenate([np.zeros((self.runs, 1), np.int64), visible + 1], axis=1)
        self.register_buffer("rows", torch.from_numpy(rows.reshape(-1)))

    def forward(self, patches: Tensor, unit: Tensor) -> tuple[Tensor, Tensor]:
        """float32 [B, N, P] -> float32 [B, D], [B, K (V + 1), D], both after the final norm."""
        n, d, last = 0 if self.beside else self.full, self.dim, len(self.blocks) - 1
        packed, read = n + self.runs * self.seen, 1 if n and self.kind == "cls" else n
        embedded = self.embed(patches)
        if embedded.dtype != self.dtype:
            embedded = embedded.to(self.dtype)
        tokens = torch.cat([self.cls * unit, embedded], dim=1)
        x = (tokens if n else tokens[:, self.rows]).reshape(-1, d)
        for depth, block in enumerate(self.blocks):
            assert isinstance(block, PackedBlock)
            queries = read if depth == last else n
            if n and depth == 0:
                q, k, v = (y.reshape(-1, n, d) for y in block.qkv(x))
                full = (q[:, :queries], k, v)
                masked = (q[:, self.rows], k[:, self.rows], v[:, self.rows])
                x = torch.cat([tokens[:, :queries], tokens[:, self.rows]], dim=1).reshape(-1, d)
            else:
                y = block.norm1(x)
                k, v = (dense(y).reshape(-1, packed, d) for dense in (block.k, block.v))
                if queries < n:
                    x, y = (self.without_patches(rows, packed) for rows in (x, y))
                q = block.q(y).reshape(-1, packed - n + queries, d)
                full = (q[:, :queries], k[:, :n], v[:, :n])
                masked = (q[:, queries:], k[:, n:], v[:, n:])
            x = block.finish(x, self.attention(full, masked, queries))
        x = self.norm(x).reshape(-1, packed - n + read, d)
        return global_feature(x[:, :read], self.kind) if n else x[:, :0], x[:, read:]

    def without_patches(self, rows: Tensor, packed: int) -> Tensor:
        """[B packed, D] -> [B (1 + K (V + 1)), D]: of the full pass only CLS."""
        x = rows.reshape(-1, packed, self.dim)
        return torch.cat([x[:, :1], x[:, self.full :]], dim=1).reshape(-1, self.dim)

    def attention(self, full: Qkv, masked: Qkv, queries: int) -> Tensor:
        """Attention inside the full pass and inside each run -> [B, queries + K (V + 1), D]."""
        n, m, k = self.full, self.seen, self.runs
        second = attend(masked, self.heads, self.width, m, m).reshape(-1, k * m, self.dim)
        if self.beside:
            return second
        return torch.cat([attend(full, self.heads, self.width, queries, n), second], dim=1)


class PackedDecoder(nn.Module):
    """Tokens of the K runs -> predicted values of the masked patches, [B K M, P]."""

    mask_tokens: Tensor
    mask_q: Tensor
    mask_k: Tensor
    mask_v: Tensor

    def __init__(self, detector: CinemaeDetector, dtype: torch.dtype) -> None:
        super().__init__()
        mae = detector.mae
        self.dim, self.heads = mae.config.decoder_dim, mae.config.decoder_heads
        full, self.seen, self.runs = token_counts(detector)
        self.width = self.dim // self.heads
        self.hidden = full - self.seen
        visible, masked = detector.visible.cpu(), detector.masked.cpu()
        position = mae.decoder_pos_embed.detach().cpu()[0]
        seen = torch.cat([position[:1].expand(self.runs, 1, -1), position[1:][visible]], dim=1)
        bias = seen.reshape(-1, self.dim) + mae.decoder_embed.bias.detach()
        self.embed = Dense(mae.decoder_embed.weight, bias, dtype)
        self.blocks = nn.ModuleList(PackedBlock(block, dtype) for block in mae.decoder_blocks)
        self.norm = Norm(mae.decoder_norm)
        tokens = mae.mask_token.detach()[0] + position[1:][masked]
        self.register_buffer("mask_tokens", tokens[None].to(dtype))
        first = self.blocks[0]
        assert isinstance(first, PackedBlock)
        with torch.no_grad():
            constants = first.qkv(tokens[None])
        for name, value in zip("qkv", constants, strict=True):
            self.register_buffer(f"mask_{name}", value.to(dtype))
        self.pred = Dense(*prediction(detector), edge_type(dtype))

    def forward(self, tokens: Tensor, unit: Tensor) -> Tensor:
        """float32 [B, K (V + 1), D] -> [B K M, P] in the method's pixel space, `edge_type`."""
        m, h, k, e = self.seen, self.hidden, self.runs, self.dim

        def complete(seen: Tensor, constant: Tensor) -> Tensor:
            """Seen tokens [B K (V + 1), E] and the mask tokens' [1, K, M, E] -> [B K, N + 1, E]."""
            joined = torch.cat([seen.reshape(-1, k, m, e), constant * unit[:, None]], dim=2)
            return joined.reshape(-1, m + h, e)

        def hidden(rows: Tensor) -> Tensor:
            """[B K (N + 1), E] -> those of the mask tokens [B K M, E]."""
            return rows.reshape(-1, m + h, e)[:, m:].reshape(-1, e)

        seen, last = self.embed(tokens).reshape(-1, e), len(self.blocks) - 1
        x = complete(seen, self.mask_tokens).reshape(-1, e)
        for depth, block in enumerate(self.blocks):
            assert isinstance(block, PackedBlock)
            queries = h if depth == last else m + h
            if depth == 0:
                constants = (self.mask_q, self.mask_k, self.mask_v)
                q, key, v = (complete(a, b) for a, b in zip(block.qkv(seen), constants, strict=True))
                if depth == last:
                    q = q[:, m:]
            else:
                y = block.norm1(x)
                q, key, v = block.q(hidden(y) if depth == last else y), block.k(y), block.v(y)
            if depth == last:
                x = hidden(x)
            x = block.finish(x, attend((q, key, v), self.heads, self.width, queries, m + h))
        return self.pred(self.norm(x))


def prediction(detector: CinemaeDetector) -> tuple[Tensor, Tensor]:
    """The prediction layer's weight [P, E] and bias [P]; the inverse ImageNet normalisation is folded in for [0, 1]."""
    layer = detector.mae.decoder_pred
    weight, bias = layer.weight.detach(), layer.bias.detach()
    if detector.method.pixel_space == "unit":
        mean, std = PackedLcas.channels(detector)
        weight, bias = weight * std[:, None], bias * std + mean
    return weight, bias


class PackedDetector(nn.Module):
    """uint8 [B, S, S, 3] -> `Detection`, the same numbers as `CinemaeDetector` with less work. Export only.

    `dtype` is the type of the matrix work and the residual stream; LayerNorm, softmax, LCAS, statistics and head are
    float32 in every case.
    """

    def __init__(self, detector: CinemaeDetector, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        config = detector.mae.config
        self.config, self.dtype = config, dtype
        self.encoder = PackedEncoder(detector, dtype)
        self.beside = PackedGlobal(detector.encoder, dtype) if detector.encoder else None
        self.decoder = PackedDecoder(detector, dtype)
        self.lcas = PackedLcas(detector)
        self.head = copy.deepcopy(detector.head).float()
        self.eval().requires_grad_(False)

    def patches(self, images: Tensor) -> Tensor:
        """uint8 [B, S, S, 3] -> float32 [B, N, P] in [0, 1], values in row, column, channel order."""
        g, p = self.config.grid, self.config.patch_size
        cut = images.float().reshape(-1, g, p, g, p, 3).permute(0, 1, 3, 2, 4, 5)
        return cut.reshape(-1, g * g, p * p * 3) / 255

    def forward(self, images: Tensor) -> Detection:
        """uint8 [B, S, S, 3] -> logit [B], stats [B, 3], lcas [B, N], float32."""
        pixels = self.patches(images)
        unit = (pixels[:, :1, :1] * 0 + 1).to(self.dtype)
        normalised = self.lcas.normalise(pixels)
        f_global, tokens = self.encoder(normalised, unit)
        if self.beside:
            f_global = self.beside(images)
        predicted = self.decoder(tokens, unit)
        stats, lcas = self.lcas(pixels, normalised, predicted)
        return Detection(self.head(f_global, stats), stats, lcas)
