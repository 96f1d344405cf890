"""LCAS, its statistics and the patch map inside the exported graph [Eq. 4-6], float32, written from the equations."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ...runtime.manifest import IMAGENET_MEAN, IMAGENET_STD
from ...train.model.detector import CinemaeDetector
from ...train.model.lcas import statistics


class PackedLcas(nn.Module):
    """Original and predicted patches -> statistics and patch map. Indices are constants; sums are direct.

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
        """For each patch its places in the flat [K * M] scores, padded with the place of a zero appended at the end.

        Returns:
            int64 [N * K], and float32 [N] with 1 / how many runs mask the patch (NaN, not infinity, where none does).
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
        """Original patches [B, N, P] in both spaces, predicted [B K M, P] in the method's -> stats, lcas [B, N]."""
        k, method = self.method.k, self.method
        original = pixels if method.pixel_space == "unit" else normalised
        seen = original[:, self.visible].reshape(-1, k, self.v, self.values)
        first = seen[:, :, :1, :1]
        centred = seen - first  # about one value: exact where the image is flat
        means = centred.mean(dim=3, keepdim=True)
        spread = (centred - means).square().mean(dim=3).sqrt()
        mu = first + means.mean(dim=2, keepdim=True)
        sigma = spread.mean(dim=2).clamp_min(method.sigma_floor).reshape(-1, k, 1, 1)
        hidden = original[:, self.masked].reshape(-1, k, self.m, self.values)
        hat = predicted.float().reshape(-1, k, self.m, self.values)
        deviation = ((hat - mu) / sigma).square()
        reduced = deviation.mean(dim=3) if method.stat_reduction == "mean" else deviation.sum(dim=3)
        error = (hat - hidden).square()
        fidelity = error.sum(dim=3) if method.fidelity_reduction == "sum" else error.mean(dim=3)
        lcas = reduced / 2 + sigma.log().reshape(-1, k, 1) + method.lambda_ * fidelity
        return statistics(lcas), self.patch_map(lcas)

    def patch_map(self, lcas: Tensor) -> Tensor:
        """[B, K, M] -> mean over the runs that masked the patch [B, N]."""
        flat = lcas.reshape(-1, self.method.k * self.m)
        padded = torch.cat([flat, flat[:, :1] * 0], dim=1)
        places = padded[:, self.slots].reshape(-1, self.patches, self.method.k)
        # weighted before the sum: OpenVINO 2026.4 loses a per-patch factor that follows a reduction
        return (places * self.weight[:, None]).sum(dim=2)
