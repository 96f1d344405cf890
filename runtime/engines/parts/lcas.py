"""LCAS (Eq. 4, 5), its statistics (Eq. 6) and the patch map in numpy.

Runs in: an engine in parts (`engine.py` beside it), with any masks. It is the reference that the others are tested
against. The same equations are written twice more, for other places: `export/graph/packed_lcas.py` runs inside every
fused `.onnx` engine, the default, and in the plans built from it; `train/model/lcas.py` runs in training and studies.

Shapes: B images, N patches, P values a patch, K runs, V visible and M masked patches in a run.
"""

from __future__ import annotations

import numpy as np

from ...core.manifest import MethodConfig, Preprocess
from ...core.masks import masked_from_visible


def patchify(images: np.ndarray, patch_size: int) -> np.ndarray:
    """Cut images into patches, values in row, column, channel order (`nchpwq->nhwpqc` in the MAE reference code).

    Args:
        images: [B, H, W, 3], H and W multiples of `patch_size`.
        patch_size: side of a patch in pixels.

    Returns:
        [B, N, P], P = 3 patch_size^2, same dtype, patches in row-major order.
    """
    b, h, w, c = images.shape
    p = patch_size
    cut = images.reshape(b, h // p, p, w // p, p, c).transpose(0, 1, 3, 2, 4, 5)
    return cut.reshape(b, (h // p) * (w // p), p * p * c)


def normalise(images: np.ndarray, preprocess: Preprocess) -> np.ndarray:
    """ImageNet normalisation, (x / 255 - mean) / std: uint8 [B, H, W, 3] -> float32 [B, H, W, 3]."""
    mean, std = np.asarray(preprocess.mean, np.float32), np.asarray(preprocess.std, np.float32)
    return (images.astype(np.float32) / np.float32(255) - mean) / std


def denormalise_patches(patches: np.ndarray, preprocess: Preprocess) -> np.ndarray:
    """Undo the ImageNet normalisation of patches: float [..., P] -> the same shape and dtype in [0, 1], not clipped."""
    repeats = patches.shape[-1] // 3
    std = np.tile(np.asarray(preprocess.std, patches.dtype), repeats)
    mean = np.tile(np.asarray(preprocess.mean, patches.dtype), repeats)
    return patches * std + mean


def lcas_run(
    patches: np.ndarray, reconstruction: np.ndarray, visible: np.ndarray, masked: np.ndarray, method: MethodConfig
) -> np.ndarray:
    """LCAS of every masked patch in one run (Eq. 4, 5).

    Args:
        patches: original pixels in the method's pixel space, float [B, N, P].
        reconstruction: the decoder's pixels in the same space, float [B, N, P].
        visible: indices of the visible patches, int64 [V].
        masked: indices of the masked patches, int64 [M].
        method: lambda, reductions and the floor of sigma.

    Returns:
        float [B, M] in the dtype of `patches`.
    """
    seen = patches[:, visible]
    first = seen[:, :1, :1]
    mu = first + (seen - first).mean(axis=(1, 2), keepdims=True)  # about one value: exact where the image is flat
    sigma = np.maximum(seen.std(axis=2).mean(axis=1), method.sigma_floor)[:, None, None]
    hat, original = reconstruction[:, masked], patches[:, masked]
    deviation = ((hat - mu) / sigma) ** 2
    reduced = deviation.mean(axis=2) if method.stat_reduction == "mean" else deviation.sum(axis=2)
    d_stat = reduced / 2 + np.log(sigma[:, :, 0] ** 2) / 2
    error = (hat - original) ** 2
    fidelity = error.sum(axis=2) if method.fidelity_reduction == "sum" else error.mean(axis=2)
    return d_stat + method.lambda_ * fidelity


def statistics(lcas: np.ndarray) -> np.ndarray:
    """s1 (variability), s2 (overall anomaly), s3 (perturbation sensitivity) (Eq. 6): [B, K, M] -> [B, 3]."""
    s1 = (lcas.max(axis=2) - lcas.min(axis=2)).mean(axis=1)
    first = lcas[:, 0, :1]  # the means are taken about it: s3 is their distance from s2, often a millionth of them
    means = (lcas - first[:, None]).mean(axis=2)
    overall = means.mean(axis=1)
    s3 = np.abs(means - overall[:, None]).mean(axis=1)
    return np.stack([s1, first[:, 0] + overall, s3], axis=1)


def patch_map(lcas: np.ndarray, masked: np.ndarray, n_patches: int) -> np.ndarray:
    """Mean LCAS of each patch over the runs that masked it, NaN where none did: [B, K, M], int64 [K, M] -> [B, N]."""
    total = np.zeros((lcas.shape[0], n_patches), lcas.dtype)
    count = np.zeros(n_patches, lcas.dtype)
    for run, indices in enumerate(masked):
        total[:, indices] += lcas[:, run]
        count[indices] += 1
    return np.divide(total, count, out=np.full_like(total, np.nan), where=count > 0)


def score_runs(
    images: np.ndarray,
    reconstructions: list[np.ndarray],
    visible: np.ndarray,
    patch_size: int,
    method: MethodConfig,
    preprocess: Preprocess,
) -> tuple[np.ndarray, np.ndarray]:
    """Statistics and patch map of a batch from the K reconstructions.

    Args:
        images: uint8 [B, H, W, 3].
        reconstructions: the decoder's output in each of K runs, float [B, N, P], ImageNet-normalised.
        visible: indices of the visible patches in each run, int64 [K, V].
        patch_size: side of a patch in pixels.
        method: lambda, pixel space, reductions and the floor of sigma.
        preprocess: mean and std of the normalisation.

    Returns:
        s1, s2, s3 (Eq. 6), float [B, 3]; the patch map, float [B, N], see `patch_map`.
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
    return statistics(lcas), patch_map(lcas, masked, patches.shape[1])
