"""LCAS (Eq. 4, 5), its statistics (Eq. 6) and the patch map in PyTorch, float32, from sums over colour channels.

Runs in: training, the feature cache and the studies (`train.model.detector.CinemaeDetector`). The same equations are
written twice more, for other places: `export/graph/packed_lcas.py` runs inside every fused `.onnx` engine, the default;
`runtime/engines/parts/lcas.py` is the numpy reference and runs in an engine in parts.

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

from ...runtime.core.manifest import IMAGENET_MEAN, IMAGENET_STD, MethodConfig

PIXEL_SPACES = ("unit", "imagenet")


@dataclass(frozen=True)
class RunSums:
    """All that LCAS needs of masked runs; leading dimensions as the maker says, [B] or [B, R].

    Attributes:
        sums: float32 [..., M, 3 channels, 3], the last axis sum(p_hat - mu_v), sum((p_hat - m)^2) and
            sum((p_hat - p)^2) over the pixels of a patch's channel, in [0, 1] pixels; m is the mean of p_hat over them.
        context: float32 [..., 2 spaces, 2], mu_v and sigma_v of the visible patches, sigma_v not floored yet; the
            spaces are ordered as `PIXEL_SPACES`.
    """

    sums: Tensor
    context: Tensor


def channel_constants(like: Tensor) -> tuple[Tensor, Tensor]:
    """ImageNet mean and std, [3] each, on the device and in the type of `like`."""
    return like.new_tensor(IMAGENET_MEAN), like.new_tensor(IMAGENET_STD)


def normalise(pixels: Tensor) -> Tensor:
    """Pixels in [0, 1], float32 [B, 3, S, S] -> the same ImageNet-normalised."""
    mean, std = channel_constants(pixels)
    return (pixels - mean[:, None, None]) / std[:, None, None]


def by_channel(patches: Tensor) -> Tensor:
    """Patches [..., P] with the channels fastest, as `patchify` orders them -> [..., 3, n], n = P / 3 pixels."""
    return patches.unflatten(-1, (-1, 3)).transpose(-1, -2)


def patch_moments(patches: Tensor) -> Tensor:
    """Mean and standard deviation of every patch in both pixel spaces: [0, 1], [B, N, 3, n] -> [B, N, 2 spaces, 2]."""
    mean, std = channel_constants(patches)
    moments = []
    for x in (patches, (patches - mean[:, None]) / std[:, None]):
        level, above = centred_mean(x.flatten(2))
        moments.append(torch.stack([level, (above - above.mean(2, keepdim=True)).square().mean(2).sqrt()], dim=2))
    return torch.stack(moments, dim=2)


def centred_mean(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean over the last axis, summed about its first value: exact where all values are the same.

    Returns:
        The mean, [...], and `x` less its first value, as `x`.
    """
    above = x - x[..., :1]
    return x[..., 0] + above.mean(-1), above


def sum_of_squares(x: Tensor) -> Tensor:
    """Over the last axis, in one pass: the squares need no memory."""
    return torch.linalg.vector_norm(x, dim=-1).square()


def masked_sums(patches: Tensor, predicted: Tensor, visible: Tensor, masked: Tensor) -> RunSums:
    """Reduce R masked runs of B images to their sums.

    Args:
        patches: original pixels in [0, 1], float32 [B, N, 3, n].
        predicted: the masked patches of every run, ImageNet-normalised, float32 [B, R, M, 3, n].
        visible: int64 [R, V].
        masked: int64 [R, M].

    Returns:
        With leading dimensions [B, R].
    """
    context, _ = centred_mean(patch_moments(patches)[:, visible].movedim(2, -1))
    mean, std = channel_constants(patches)
    hat = torch.addcmul(mean[:, None], predicted, std[:, None])
    error = sum_of_squares(hat - patches[:, masked])
    above = hat - context[:, :, 0, 0, None, None, None]
    total = above.sum(-1)
    spread = sum_of_squares(above - total[..., None] / above.shape[-1])
    return RunSums(torch.stack([total, spread, error], dim=-1), context)


def run_sums(patches: Tensor, reconstruction: Tensor, visible: Tensor, masked: Tensor) -> RunSums:
    """Reduce one masked run to its sums.

    Args:
        patches: original pixels in [0, 1], float [B, N, P].
        reconstruction: the decoder's output, ImageNet-normalised, float [B, N, P].
        visible: int64 [V].
        masked: int64 [M].

    Returns:
        With the leading dimension [B].
    """
    predicted = by_channel(reconstruction[:, None, masked].float())
    runs = masked_sums(by_channel(patches.float()), predicted, visible[None], masked[None])
    return RunSums(runs.sums[:, 0], runs.context[:, 0])


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
