"""Local Contextual Anomaly Score (LCAS) and its statistics in numpy [Eq. 4-6].

It scores engines that are a folder of parts (encoder, decoder, head), and is the readable reference for the two others:
`train/model/lcas.py` (torch, keeps the terms apart so that lambda can change later) and `export/graph/packed_lcas.py`
(torch, shaped for the graph of the fused engines, the default).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .manifest import MethodConfig, Preprocess
from .masks import masked_from_visible


def patchify(images: np.ndarray, patch_size: int) -> np.ndarray:
    """Cut images into patches, values in row, column, channel order (the MAE reference's `nchpwq->nhwpqc`).

    Args:
        images: [B, H, W, 3], H and W multiples of `patch_size`.
        patch_size: side of a patch in pixels.

    Returns:
        [B, N, patch_size * patch_size * 3], same dtype, patches in row-major order.
    """
    b, h, w, c = images.shape
    p = patch_size
    cut = images.reshape(b, h // p, p, w // p, p, c).transpose(0, 1, 3, 2, 4, 5)
    return cut.reshape(b, (h // p) * (w // p), p * p * c)


def normalise(images: np.ndarray, preprocess: Preprocess) -> np.ndarray:
    """uint8 [B, H, W, 3] -> float32 [B, H, W, 3], ImageNet-normalised: (x / 255 - mean) / std."""
    mean, std = np.asarray(preprocess.mean, np.float32), np.asarray(preprocess.std, np.float32)
    return (images.astype(np.float32) / np.float32(255) - mean) / std


def denormalise_patches(patches: np.ndarray, preprocess: Preprocess) -> np.ndarray:
    """Decoder output [..., P] in ImageNet-normalised space -> [0, 1] pixel space, not clipped, same dtype."""
    repeats = patches.shape[-1] // 3
    std = np.tile(np.asarray(preprocess.std, patches.dtype), repeats)
    mean = np.tile(np.asarray(preprocess.mean, patches.dtype), repeats)
    return patches * std + mean


def lcas_run(
    patches: np.ndarray, reconstruction: np.ndarray, visible: np.ndarray, masked: np.ndarray, method: MethodConfig
) -> np.ndarray:
    """LCAS of every masked patch in one run [Eq. 4, 5].

    Args:
        patches: original pixels in the method's pixel space, float [B, N, P].
        reconstruction: the decoder's pixels in the same space, float [B, N, P].
        visible: int64 [V], indices of the visible patches.
        masked: int64 [M], indices of the masked patches.
        method: lambda, the reductions and the floor of sigma.

    Returns:
        float [B, M] in the dtype of `patches`.
    """
    seen = patches[:, visible]
    mu = seen.mean(axis=2).mean(axis=1)[:, None, None]
    sigma = np.maximum(seen.std(axis=2).mean(axis=1), method.sigma_floor)[:, None, None]
    hat, original = reconstruction[:, masked], patches[:, masked]
    deviation = ((hat - mu) / sigma) ** 2
    reduced = deviation.mean(axis=2) if method.stat_reduction == "mean" else deviation.sum(axis=2)
    d_stat = reduced / 2 + np.log(sigma[:, :, 0] ** 2) / 2
    error = (hat - original) ** 2
    fidelity = error.sum(axis=2) if method.fidelity_reduction == "sum" else error.mean(axis=2)
    return d_stat + method.lambda_ * fidelity


def statistics(lcas: np.ndarray) -> np.ndarray:
    """s1 (variability), s2 (overall anomaly), s3 (perturbation sensitivity) [Eq. 6]: [B, K, M] -> [B, 3]."""
    s1 = (lcas.max(axis=2) - lcas.min(axis=2)).mean(axis=1)
    means = lcas.mean(axis=2)
    s2 = means.mean(axis=1)
    s3 = np.abs(means - s2[:, None]).mean(axis=1)
    return np.stack([s1, s2, s3], axis=1)


def patch_map(lcas: np.ndarray, masked: np.ndarray, n_patches: int) -> np.ndarray:
    """Mean LCAS of each patch over the runs that masked it.

    Args:
        lcas: float [B, K, M].
        masked: int64 [K, M], indices of the masked patches of each run.
        n_patches: N.

    Returns:
        float [B, N], NaN for patches that no run masked.
    """
    total = np.zeros((lcas.shape[0], n_patches), lcas.dtype)
    count = np.zeros(n_patches, lcas.dtype)
    for run, indices in enumerate(masked):
        total[:, indices] += lcas[:, run]
        count[indices] += 1
    return np.divide(total, count, out=np.full_like(total, np.nan), where=count > 0)


@dataclass(frozen=True)
class LcasResult:
    """Scores of a batch.

    Attributes:
        stats: float [B, 3]: s1, s2, s3 [Eq. 6].
        lcas: float [B, N], mean LCAS of each patch [Eq. 5], NaN where a patch was never masked.
    """

    stats: np.ndarray
    lcas: np.ndarray


def score_runs(
    images: np.ndarray,
    reconstructions: list[np.ndarray],
    visible: np.ndarray,
    patch_size: int,
    method: MethodConfig,
    preprocess: Preprocess,
) -> LcasResult:
    """LCAS, patch map and statistics of a batch from the K reconstructions.

    Args:
        images: uint8 [B, H, W, 3].
        reconstructions: K arrays float [B, N, P], ImageNet-normalised pixels as the decoder gives them.
        visible: int64 [K, V], indices of the visible patches of each run.
        patch_size: side of a patch in pixels.
        method: pixel space, lambda, the reductions and the floor of sigma.
        preprocess: mean and standard deviation of the normalisation.
    """
    dtype = reconstructions[0].dtype
    if method.pixel_space == "unit":
        pixels = images.astype(dtype) / dtype.type(255)
    else:
        pixels = normalise(images, preprocess).astype(dtype)
    patches = patchify(pixels, patch_size)
    masked = masked_from_visible(visible, patches.shape[1])
    runs = []
    for reconstruction, seen, hidden in zip(reconstructions, visible, masked, strict=True):
        hat = denormalise_patches(reconstruction, preprocess) if method.pixel_space == "unit" else reconstruction
        runs.append(lcas_run(patches, hat, seen, hidden, method))
    lcas = np.stack(runs, axis=1)
    return LcasResult(statistics(lcas), patch_map(lcas, masked, patches.shape[1]))
