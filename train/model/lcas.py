"""LCAS (Eq. 4, 5), its statistics (Eq. 6) and the patch map in PyTorch, float32, from sums over colour channels.

Runs in: training, the feature cache and the studies (`train.model.detector.CinemaeDetector`). The same equations are
written twice more, for other places: `export/graph/packed_lcas.py` runs inside every fused `.onnx` engine, the default;
`runtime/lcas.py` is the numpy reference and runs in an engine in parts.

LCAS depends on a masked patch only through three sums for each colour channel: of p_hat - mu_v, of (p_hat - m)^2 and of
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
    """All that LCAS needs of one masked run of B images with M masked patches.

    Attributes:
        sums: float32 [B, M, 3 channels, 3], the last axis sum(p_hat - mu_v), sum((p_hat - m)^2) and sum((p_hat - p)^2)
            over the pixels of a patch's channel, in [0, 1] pixels; m is the mean of p_hat over them.
        context: float32 [B, 2 spaces, 2], mu_v and sigma_v of the visible patches, sigma_v not floored yet; the spaces
            are ordered as `PIXEL_SPACES`.
    """

    sums: Tensor
    context: Tensor


def channel_constants(like: Tensor) -> tuple[Tensor, Tensor]:
    """ImageNet mean and std, [3] each, on the device and in the type of `like`."""
    return like.new_tensor(IMAGENET_MEAN), like.new_tensor(IMAGENET_STD)


def context_of(patches: Tensor) -> Tensor:
    """mu_v and sigma_v in both pixel spaces: visible patches in [0, 1], float32 [B, V, P] -> float32 [B, 2, 2]."""
    mean, std = channel_constants(patches)
    split = patches.unflatten(2, (-1, 3))
    normal = ((split - mean) / std).flatten(2)
    pairs = [
        torch.stack([centred_mean(x), x.std(dim=2, correction=0).mean(dim=1)], dim=1)
        for x in (patches, normal)
    ]
    return torch.stack(pairs, dim=1)


def centred_mean(x: Tensor) -> Tensor:
    """Mean of each row, [B, ...] -> [B], summed about the row's first value: exact where all values are the same."""
    first = x.flatten(1)[:, 0]
    return first + (x.flatten(1) - first[:, None]).mean(dim=1)


def run_sums(patches: Tensor, reconstruction: Tensor, visible: Tensor, masked: Tensor) -> RunSums:
    """Reduce one masked run to its sums.

    Args:
        patches: original pixels in [0, 1], float [B, N, P].
        reconstruction: the decoder's output, ImageNet-normalised, float [B, N, P].
        visible: int64 [V].
        masked: int64 [M].
    """
    context = context_of(patches[:, visible].float())
    mean, std = channel_constants(patches.float())
    hat = reconstruction[:, masked].float().unflatten(2, (-1, 3)) * std + mean
    original = patches[:, masked].float().unflatten(2, (-1, 3))
    centred = hat - hat.mean(2, keepdim=True)
    above = hat - context[:, 0, 0, None, None, None]
    sums = torch.stack([above.sum(2), centred.square().sum(2), (hat - original).square().sum(2)], dim=3)
    return RunSums(sums, context)


def lcas_from_sums(run: RunSums, pixels: int, method: MethodConfig) -> Tensor:
    """LCAS of every masked patch [Eq. 4, 5].

    Args:
        run: sums of one run.
        pixels: number of pixels of a patch, P / 3.
        method: constants of LCAS.

    Returns:
        float32 [B, M].
    """
    total, spread, error = run.sums.unbind(3)
    mu, sigma = run.context[:, PIXEL_SPACES.index(method.pixel_space)].unbind(1)
    above = total / pixels  # mean of p_hat less mu_v
    if method.pixel_space == "imagenet":
        mean, std = channel_constants(above)
        level = (above + run.context[:, 0, 0, None, None] - mean) / std
        above, spread, error = level - mu[:, None, None], spread / std**2, error / std**2
    sigma = sigma.clamp_min(method.sigma_floor)[:, None]
    values = 3 * pixels
    deviation = (spread + pixels * above.square()).sum(2) / sigma**2
    if method.stat_reduction == "mean":
        deviation = deviation / values
    fidelity = error.sum(2)
    if method.fidelity_reduction == "mean":
        fidelity = fidelity / values
    return deviation / 2 + torch.log(sigma.square()) / 2 + method.lambda_ * fidelity


def statistics(lcas: Tensor) -> Tensor:
    """s1, s2, s3 [Eq. 6]: LCAS float32 [B, K, M] -> float32 [B, 3].

    The means of the runs are taken about the first value: s3 is their distance from s2, often a millionth of them.
    """
    s1 = (lcas.amax(2) - lcas.amin(2)).mean(dim=1, keepdim=True)
    first = lcas[:, 0, :1]
    means = (lcas - first[:, :, None]).mean(dim=2)
    overall = means.mean(dim=1, keepdim=True)
    s3 = (means - overall).abs().mean(dim=1, keepdim=True)
    return torch.cat([s1, first + overall, s3], dim=1)


def patch_map(lcas: Tensor, masked: Tensor, n_patches: int) -> Tensor:
    """Mean LCAS of each patch over the runs that masked it.

    Args:
        lcas: float32 [B, K, M].
        masked: int64 [K, M].
        n_patches: number of patches N.

    Returns:
        float32 [B, N], NaN where no run masked the patch.
    """
    total = lcas.new_zeros(lcas.shape[0], n_patches).index_add(1, masked.flatten(), lcas.flatten(1))
    count = torch.bincount(masked.flatten(), minlength=n_patches).to(lcas.dtype)
    return total / count
