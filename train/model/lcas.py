"""LCAS (Eq. 4, 5), its statistics (Eq. 6) and the patch map in PyTorch, float32, from sums over colour channels.

Runs in: training, the feature cache and the studies (`train.model.detector.CinemaeDetector`). The same equations are
written twice more, for other places: `export/graph/packed_lcas.py` runs inside every fused `.onnx` engine, the default;
`runtime/lcas.py` is the numpy reference and runs in an engine in parts.

LCAS depends on a masked patch only through three sums for each colour channel: of p_hat, of p_hat^2 and of
(p_hat - p)^2, in [0, 1] pixels. The feature cache keeps these sums, so that any lambda, reduction and pixel space can
be evaluated without the model. Squares are summed about the channel's own mean m over n pixels:
sum((p_hat - mu)^2) = sum((p_hat - m)^2) + n (m - mu)^2 stays accurate on flat images, where sigma is at its floor and
sum(p_hat^2) - 2 mu sum(p_hat) + n mu^2 would lose its digits to cancellation.

Shapes: B images, N patches, P values a patch, K runs, V visible and M masked patches in a run.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ...runtime.manifest import IMAGENET_MEAN, IMAGENET_STD, MethodConfig

PIXEL_SPACES = ("unit", "imagenet")


@dataclass(frozen=True)
class RunSums:
    """The sums of one masked run from which its LCAS follows.

    Attributes:
        sums: float32 [B, M, 3 channels, 3]. Last axis: sum(p_hat), sum((p_hat - m)^2), sum((p_hat - p)^2) over the
            pixels of one channel of a patch, in [0, 1], m the mean of p_hat over them.
        context: float32 [B, 2 spaces, 2]. Last axis: mu_v and sigma_v (without floor) of the visible patches, the
            spaces ordered as `PIXEL_SPACES`.
    """

    sums: Tensor
    context: Tensor


def channel_constants(like: Tensor) -> tuple[Tensor, Tensor]:
    """ImageNet mean and std, [3] each, with the device and dtype of `like`."""
    return like.new_tensor(IMAGENET_MEAN), like.new_tensor(IMAGENET_STD)


def context_of(patches: Tensor) -> Tensor:
    """mu_v and sigma_v of visible patches (Eq. 4) in both pixel spaces: [B, V, P] in [0, 1] -> [B, 2, 2]."""
    mean, std = channel_constants(patches)
    split = patches.unflatten(2, (-1, 3))
    normal = ((split - mean) / std).flatten(2)
    pairs = [
        torch.stack([x.mean(dim=2).mean(dim=1), x.std(dim=2, correction=0).mean(dim=1)], dim=1)
        for x in (patches, normal)
    ]
    return torch.stack(pairs, dim=1)


def run_sums(patches: Tensor, reconstruction: Tensor, visible: Tensor, masked: Tensor) -> RunSums:
    """Reduce one run to its sums.

    Args:
        patches: original pixels in [0, 1], float [B, N, P].
        reconstruction: the decoder's output, ImageNet-normalised, float [B, N, P].
        visible: indices of the visible patches, int64 [V].
        masked: indices of the masked patches, int64 [M].
    """
    mean, std = channel_constants(patches.float())
    hat = reconstruction[:, masked].float().unflatten(2, (-1, 3)) * std + mean
    original = patches[:, masked].float().unflatten(2, (-1, 3))
    centred = hat - hat.mean(2, keepdim=True)
    sums = torch.stack([hat.sum(2), centred.square().sum(2), (hat - original).square().sum(2)], dim=3)
    return RunSums(sums, context_of(patches[:, visible].float()))


def lcas_from_sums(run: RunSums, pixels: int, method: MethodConfig) -> Tensor:
    """LCAS of every masked patch in one run (Eq. 4, 5).

    Args:
        run: the run's sums.
        pixels: pixels in a patch, P / 3.
        method: lambda, pixel space, reductions and the floor of sigma.

    Returns:
        float32 [B, M].
    """
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
    """s1 (variability), s2 (overall anomaly), s3 (perturbation sensitivity) (Eq. 6): [B, K, M] -> [B, 3]."""
    s1 = (lcas.amax(2) - lcas.amin(2)).mean(1)
    means = lcas.mean(2)
    s2 = means.mean(1)
    s3 = (means - s2[:, None]).abs().mean(1)
    return torch.stack([s1, s2, s3], dim=1)


def patch_map(lcas: Tensor, masked: Tensor, n_patches: int) -> Tensor:
    """Mean LCAS of each patch over the runs that masked it, NaN where none did: [B, K, M], int64 [K, M] -> [B, N]."""
    total = lcas.new_zeros(lcas.shape[0], n_patches).index_add(1, masked.flatten(), lcas.flatten(1))
    count = torch.bincount(masked.flatten(), minlength=n_patches).to(lcas.dtype)
    return total / count
