"""LCAS, its statistics and the patch map inside the exported graph [Eq. 4-6], float32, written from the equations."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ...runtime.manifest import IMAGENET_MEAN, IMAGENET_STD
from ...train.model.detector import CinemaeDetector


class PackedLcas(nn.Module):
    """Original and predicted patches -> statistics and patch map; the fused engine runs this one.

    Indices are constants and sums are direct. `cinemae.runtime.lcas` (numpy, for parts and heatmaps) and
    `cinemae.train.model.lcas` (torch, for training) compute the same equations.

    K runs, V visible and M masked patches a run, N patches, P values a patch.
    """

    visible: Tensor
    masked: Tensor
    slots: Tensor
    weight: Tensor
    mean: Tensor
    std: Tensor

    def __init__(self, detector: CinemaeDetector) -> None:
        super().__init__()
        config, method = detector.mae.config, detector.method
        self.method, self.values, self.patches = method, config.patch_values, config.n_patches
        self.register_buffer("visible", detector.visible.cpu().flatten())
        self.register_buffer("masked", detector.masked.cpu().flatten())
        mean, std = self.channels(detector)
        self.register_buffer("mean", mean)
        self.register_buffer("std", std)
        self.v, self.m = detector.visible.shape[1], detector.masked.shape[1]
        slots, weight = self.where_masked(detector.masked.cpu())
        self.register_buffer("slots", slots)
        self.register_buffer("weight", weight)

    @staticmethod
    def channels(detector: CinemaeDetector) -> tuple[Tensor, Tensor]:
        """ImageNet mean and std of every value of a patch, float32 [P] each."""
        repeats = detector.mae.config.patch_values // 3
        return torch.tensor(IMAGENET_MEAN).repeat(repeats), torch.tensor(IMAGENET_STD).repeat(repeats)

    def where_masked(self, masked: Tensor) -> tuple[Tensor, Tensor]:
        """Positions of every patch in the flat [K * M] scores; a run that leaves it visible points at an appended zero.

        Returns:
            Positions, int64 [N * K]; 1 / number of runs that mask the patch, float32 [N], NaN where none does.
        """
        k, m = masked.shape
        slots = torch.full((self.patches, k), k * m, dtype=torch.int64)
        for run in range(k):
            slots[masked[run], run] = run * m + torch.arange(m)
        count = (slots < k * m).sum(1).float()
        return slots.flatten(), torch.where(count > 0, 1 / count, torch.full_like(count, float("nan")))

    def normalise(self, pixels: Tensor) -> Tensor:
        """[0, 1] patches [B, N, P] -> ImageNet-normalised."""
        return (pixels - self.mean) / self.std

    def forward(self, pixels: Tensor, normalised: Tensor, predicted: Tensor) -> tuple[Tensor, Tensor]:
        """LCAS [Eq. 4, 5] of the masked patches, its statistics [Eq. 6] and its patch map.

        Args:
            pixels: original patches in [0, 1], float32 [B, N, P].
            normalised: the same, ImageNet-normalised.
            predicted: masked patches in the method's pixel space, [B K M, P].

        Returns:
            stats, float32 [B, 3]; patch map, float32 [B, N].
        """
        k, method = self.method.k, self.method
        original = pixels if method.pixel_space == "unit" else normalised
        seen = original[:, self.visible].reshape(-1, k, self.v, self.values)
        means = seen.mean(dim=3, keepdim=True)
        spread = (seen - means).square().mean(dim=3).sqrt()
        mu = means.mean(dim=2, keepdim=True)
        sigma = spread.mean(dim=2).clamp_min(method.sigma_floor).reshape(-1, k, 1, 1)
        hidden = original[:, self.masked].reshape(-1, k, self.m, self.values)
        hat = predicted.float().reshape(-1, k, self.m, self.values)
        deviation = ((hat - mu) / sigma).square()
        reduced = deviation.mean(dim=3) if method.stat_reduction == "mean" else deviation.sum(dim=3)
        error = (hat - hidden).square()
        fidelity = error.sum(dim=3) if method.fidelity_reduction == "sum" else error.mean(dim=3)
        lcas = reduced / 2 + sigma.log().reshape(-1, k, 1) + method.lambda_ * fidelity
        return self.statistics(lcas), self.patch_map(lcas)

    def statistics(self, lcas: Tensor) -> Tensor:
        """LCAS [B, K, M] -> s1, s2, s3 [Eq. 6], [B, 3]."""
        s1 = (lcas.amax(2) - lcas.amin(2)).mean(dim=1, keepdim=True)
        means = lcas.mean(dim=2)
        s2 = means.mean(dim=1, keepdim=True)
        s3 = (means - s2).abs().mean(dim=1, keepdim=True)
        return torch.cat([s1, s2, s3], dim=1)

    def patch_map(self, lcas: Tensor) -> Tensor:
        """LCAS [B, K, M] -> mean over the runs that mask the patch, [B, N]."""
        flat = lcas.reshape(-1, self.method.k * self.m)
        padded = torch.cat([flat, flat[:, :1] * 0], dim=1)
        places = padded[:, self.slots].reshape(-1, self.patches, self.method.k)
        # weighted before the sum: OpenVINO 2026.4 loses a per-patch factor that follows a reduction
        return (places * self.weight[:, None]).sum(dim=2)
