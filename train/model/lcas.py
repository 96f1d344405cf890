"""Local Contextual Anomaly Score and its statistics in PyTorch [Eq. 4-6], always in float32, from per-channel sums.

Everything LCAS needs of a masked patch are, per colour channel, the sums of p_hat, p_hat^2 and (p_hat - p)^2 in [0, 1]
pixels. They are what the feature cache keeps: every lambda, reduction and pixel space follows from them. The squares
are summed about the channel's own mean: sum((p_hat - mu)^2) = sum((p_hat - m)^2) + n (m - mu)^2 keeps its digits, while
sum(p_hat^2) - 2 mu sum(p_hat) + n mu^2 cancels on flat images, where sigma is at its floor and divides by 1e-6.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ...runtime.manifest import IMAGENET_MEAN, IMAGENET_STD, MethodConfig

PIXEL_SPACES = ("unit", "imagenet")


@dataclass(frozen=True)
class RunSums:
    """What one masked run leaves behind, B images, M masked patches; float32.

    sums: [B, M, 3 channels, 3], the last axis sum(p_hat), sum((p_hat - m)^2), sum((p_hat - p)^2) over the pixels of
        a patch's channel, m the mean of p_hat over them, [0, 1] space.
    context: [B, 2 spaces, 2], mu_v and (unfloored) sigma_v of the visible patches, spaces ordered as `PIXEL_SPACES`.
    """

    sums: Tensor
    context: Tensor


def channel_constants(like: Tensor) -> tuple[Tensor, Tensor]:
    """ImageNet mean and std, [3] each, in the device and type of `like`."""
    return like.new_tensor(IMAGENET_MEAN), like.new_tensor(IMAGENET_STD)


def context_of(patches: Tensor) -> Tensor:
    """mu_v, sigma_v of visible patches in both pixel spaces: [B, V, P] in [0, 1] -> [B, 2, 2]."""
    mean, std = channel_constants(patches)
    split = patches.unflatten(2, (-1, 3))
    normal = ((split - mean) / std).flatten(2)
    pairs = [
        torch.stack([x.mean(dim=2).mean(dim=1), x.std(dim=2, correction=0).mean(dim=1)], dim=1)
        for x in (patches, normal)
    ]
    return torch.stack(pairs, dim=1)


def run_sums(patches: Tensor, reconstruction: Tensor, visible: Tensor, masked: Tensor) -> RunSums:
    """Reduce one run.

    Args:
        patches: original pixels in [0, 1], float [B, N, P].
        reconstruction: the decoder's output, ImageNet-normalised, float [B, N, P].
        visible: int64 [V]. masked: int64 [M].
    """
    mean, std = channel_constants(patches.float())
    hat = reconstruction[:, masked].float().unflatten(2, (-1, 3)) * std + mean
    original = patches[:, masked].float().unflatten(2, (-1, 3))
    centred = hat - hat.mean(2, keepdim=True)
    sums = torch.stack([hat.sum(2), centred.square().sum(2), (hat - original).square().sum(2)], dim=3)
    return RunSums(sums, context_of(patches[:, visible].float()))


def lcas_from_sums(run: RunSums, pixels: int, method: MethodConfig) -> Tensor:
    """LCAS of every masked patch [Eq. 4, 5]: `pixels` a patch holds (P / 3) -> float32 [B, M]."""
    total, spread, error = run.sums.unbind(3)
    level = total / pixels
    if method.pixel_space == "imagenet":
        mean, std = channel_constants(level)
        level, spread, error = (level - mean) / std, spread / std**2, error / std**2
    mu, sigma = run.context[:, PIXEL_SPACES.index(method.pixel_space)].unbind(1)
    sigma = sigma.clamp_min(method.sigma_floor)[:, None]
    values = 3 * pixels
    deviation = (spread + pixels * (level - mu[:, None, None]).square()).sum(2) / sigma**2
    if method.stat_reduction == "mean":
        deviation = deviation / values
    fidelity = error.sum(2)
    if method.fidelity_reduction == "mean":
        fidelity = fidelity / values
    return deviation / 2 + torch.log(sigma.square()) / 2 + method.lambda_ * fidelity


def statistics(lcas: Tensor) -> Tensor:
    """s1, s2, s3 [Eq. 6]: float32 [B, K, M] -> [B, 3]."""
    s1 = (lcas.amax(2) - lcas.amin(2)).mean(1)
    means = lcas.mean(2)
    s2 = means.mean(1)
    s3 = (means - s2[:, None]).abs().mean(1)
    return torch.stack([s1, s2, s3], dim=1)


def patch_map(lcas: Tensor, masked: Tensor, n_patches: int) -> Tensor:
    """Mean LCAS of each patch over the runs that masked it: [B, K, M], int64 [K, M] -> [B, N]; never masked: NaN."""
    total = lcas.new_zeros(lcas.shape[0], n_patches).index_add(1, masked.flatten(), lcas.flatten(1))
    count = torch.bincount(masked.flatten(), minlength=n_patches).to(lcas.dtype)
    return total / count
