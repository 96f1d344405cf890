"""LCAS (Eq. 4, 5), its statistics (Eq. 6) and the patch map as a part of the exported graph, float32.

Runs in: every fused `.onnx` engine, the default and bundled one included, on onnxruntime and OpenVINO, and in the
TensorRT plans built from it. The same equations are written twice more: `runtime/engines/parts/lcas.py` is the numpy
reference and runs in an engine in parts; `train/model/lcas.py` runs in training and studies.

Mask indices are constants of the graph, and all K runs are computed at once.

Shapes: B images, N patches, P values a patch, K runs, V visible and M masked patches in a run.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ...runtime.core.manifest import IMAGENET_MEAN, IMAGENET_STD
from ...train.model.detector import CinemaeDetector
from ...train.model.lcas import statistics


class PackedLcas(nn.Module):
    """Statistics and patch map from original and predicted patches.

    Attributes:
        visible: indices of the visible patches of all runs, int64 [K V].
        masked: indices of the masked patches of all runs, int64 [K M].
        slots: see `where_masked`, int64 [N, K] flattened.
        weight: see `where_masked`, float32 [N].
        mean: ImageNet mean of every value of a patch, float32 [P].
        std: ImageNet standard deviation of every value of a patch, float32 [P].
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
        """ImageNet mean and standard deviation of every value of a patch, float32 [P] each."""
        repeats = detector.mae.config.patch_values // 3
        return torch.tensor(IMAGENET_MEAN).repeat(repeats), torch.tensor(IMAGENET_STD).repeat(repeats)

    def where_masked(self, masked: Tensor) -> tuple[Tensor, Tensor]:
        """Where the scores of each patch lie, so that the patch map is a gather and a sum.

        Args:
            masked: indices of the masked patches in each run, int64 [K, M].

        Returns:
            int64 [N * K], for each patch and run the position in the flattened [K M] scores, K M (a zero that
            `patch_map` appends) where the run shows the patch; and float32 [N], 1 / the number of runs that mask the
            patch, NaN where none does.
        """
        k, m = masked.shape
        slots = torch.full((self.patches, k), k * m, dtype=torch.int64)
        for run in range(k):
            slots[masked[run], run] = run * m + torch.arange(m)
        count = (slots < k * m).sum(1).float()
        return slots.flatten(), torch.where(count > 0, 1 / count, torch.full_like(count, float("nan")))

    def normalise(self, pixels: Tensor) -> Tensor:
        """ImageNet normalisation of patches in [0, 1]: float32 [B, N, P] -> the same shape."""
        return (pixels - self.mean) / self.std

    def forward(self, pixels: Tensor, normalised: Tensor, predicted: Tensor) -> tuple[Tensor, Tensor]:
        """Score a batch (Eq. 4-6).

        Args:
            pixels: original patches in [0, 1], float32 [B, N, P].
            normalised: the same, ImageNet-normalised.
            predicted: the decoder's masked patches in the method's pixel space, float [B K M, P].

        Returns:
            Statistics, float32 [B, 3], and patch map, float32 [B, N], NaN where no run masks a patch.
        """
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
        """Mean LCAS of each patch over the runs that masked it, NaN where none did: [B, K, M] -> [B, N]."""
        flat = lcas.reshape(-1, self.method.k * self.m)
        padded = torch.cat([flat, flat[:, :1] * 0], dim=1)
        places = padded[:, self.slots].reshape(-1, self.patches, self.method.k)
        # weighted before the sum: OpenVINO 2026.4 loses a per-patch factor that follows a reduction
        return (places * self.weight[:, None]).sum(dim=2)
