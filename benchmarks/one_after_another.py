"""The extractor as it was, the baseline of `extract_speed.py`."""

from __future__ import annotations

import numpy as np
import torch
from cinemae.runtime.core.masks import masked_from_visible
from cinemae.train.features.cache import Features
from cinemae.train.model.lcas import channel_constants, normalise
from cinemae.train.model.mae import MaskedAutoencoder, patchify
from torch import Tensor


class OneAfterAnother:
    """The extractor as it was: a loop over the runs, float32, sums of each run by themselves."""

    def __init__(self, mae: MaskedAutoencoder, mask_sets: np.ndarray, *_: object) -> None:
        self.mae, self.shape = mae.eval(), mask_sets.shape[:2]
        runs = mask_sets.reshape(-1, mask_sets.shape[2])
        self.visible = torch.from_numpy(runs)
        self.masked = torch.from_numpy(masked_from_visible(runs, mae.config.n_patches))

    @torch.inference_mode()
    def __call__(self, images: np.ndarray) -> Features:
        """Images uint8 [B, S, S, 3] -> features."""
        mae = self.mae
        pixels = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
        embedded = mae.embed(normalise(pixels))
        f_global = mae.encode_embedded(embedded)[:, 0]
        patches = patchify(pixels, mae.config.patch_size)
        runs = [
            self.sums(patches, mae.decode(mae.encode_embedded(embedded, seen), seen), seen, hidden)
            for seen, hidden in zip(self.visible, self.masked, strict=True)
        ]
        sums, context = (torch.stack(parts, dim=1).unflatten(1, self.shape) for parts in zip(*runs, strict=True))
        return Features(f_global.numpy(), sums.numpy(), context.numpy(), mae.config.patch_values // 3)

    def sums(self, patches: Tensor, reconstruction: Tensor, visible: Tensor, masked: Tensor) -> tuple[Tensor, Tensor]:
        """Sums [B, M, 3, 3] and context [B, 2, 2] of one run."""
        mean, std = channel_constants(patches)
        seen = patches[:, visible]
        normal = ((seen.unflatten(2, (-1, 3)) - mean) / std).flatten(2)
        pairs = [
            torch.stack([x.flatten(1).mean(1), x.std(dim=2, correction=0).mean(dim=1)], dim=1) for x in (seen, normal)
        ]
        context = torch.stack(pairs, dim=1)
        hat = reconstruction[:, masked].unflatten(2, (-1, 3)) * std + mean
        original = patches[:, masked].unflatten(2, (-1, 3))
        centred = hat - hat.mean(2, keepdim=True)
        above = hat - context[:, 0, 0, None, None, None]
        return torch.stack([above.sum(2), centred.square().sum(2), (hat - original).square().sum(2)], dim=3), context
